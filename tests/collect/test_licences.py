"""Licences: found where a source says them, unknown where it does not."""

import json

import pytest

from fastrec.collect import licences


@pytest.fixture
def root(home):
    (home / "pets" / "cat").mkdir(parents=True)
    return home / "pets"


def find(source="folder:pets", pictures=()):
    return licences.find(source, list(pictures))


def test_nothing_said_is_unknown(root):
    (root / "README.md").write_text("# Pets\nPictures of pets.\n")
    assert find() == licences.UNKNOWN
    assert find("folder:absent") == licences.UNKNOWN


@pytest.mark.parametrize("name", ["LICENSE", "licence.txt", "COPYING", "License.md"])
def test_a_licence_file_says_it_in_its_first_line(root, name):
    (root / name).write_text("\n   \n# MIT   License\n\nCopyright\n")
    (root / "README.md").write_text("license: other")
    assert find() == ("MIT License", name)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("---\nlicense: cc-by-4.0\n---\n", "license: cc-by-4.0"),
        ("Pets.\n\nThe data are licensed under CC0.\n", "The data are licensed under CC0."),
        ("# Pets\n## License\n\nCC BY-SA 4.0\n", "CC BY-SA 4.0"),
        ("# License", licences.UNKNOWN[0]),
    ],
)
def test_a_readme_says_it_in_a_line(root, text, told):
    (root / "ReadMe.md").write_text(text)
    assert find()[0] == told


def test_annotations_say_it_themselves(home):
    listed = [{"name": "CC BY 4.0", "url": "https://x"}, {"name": "CC BY 4.0", "url": "https://x"}, {"name": "CC0"}]
    (home / "a.json").write_text(json.dumps({"licenses": listed}))
    assert find("coco-crop:a.json") == ("CC BY 4.0 https://x; CC0", "a.json")


@pytest.mark.parametrize("text", ["[]", "{", '{"licenses": [1]}', '{"licenses": null}'])
def test_annotations_that_are_odd_say_nothing(home, text):
    (home / "a.json").write_text(text)
    assert find("coco:a.json") == licences.UNKNOWN


def test_beside_a_table_and_beside_the_unpacked_pictures(root, home):
    (root / "LICENSE").write_text("CC0")
    assert find("csv:pets/table.csv") == ("CC0", "LICENSE")
    pictures = [root / "cat" / "1.png", root / "dog" / "1.png"]
    assert find("archive:elsewhere/pets.zip", pictures) == ("CC0", "LICENSE")


@pytest.mark.parametrize("source", ["torchvision:CIFAR10", "fastai:PETS", "hf:me/pets", "archive:pets.zip", "folder:."])
def test_the_projects_own_licence_is_nobody_elses(home, source):
    (home / "LICENSE").write_text("MIT License")
    assert find(source) == licences.UNKNOWN
    assert find(source, [home / "a" / "1.png", home / "b" / "1.png"]) == licences.UNKNOWN
    assert find(source, [home / "a" / "1.png", home.parent / "elsewhere" / "1.png"]) == licences.UNKNOWN


def test_a_set_fetched_by_name_says_it_in_its_folder_or_further_in(home):
    hub, birds = home / "data" / "hf" / "me--pets", home / "data" / "fastai" / "BIRDS"
    pictures = [birds / "data" / "birds" / "images" / name / "1.png" for name in ("crow", "wren")]
    for folder in (hub / "train", pictures[0].parent):
        folder.mkdir(parents=True)
    (hub / "README.md").write_text("---\nlicense:\n- cc-by-4.0\n---\n")
    (birds / "data" / "birds" / "LICENSE").write_text("CC0")
    assert find("hf:me/pets", [hub / "train" / "cat" / "1.png"]) == ("cc-by-4.0", "README.md")
    assert find("fastai:BIRDS", pictures) == ("CC0", "LICENSE")


def test_long_and_odd_text_is_cut(root):
    (root / "LICENSE").write_bytes(b"\xff" + b"long " * 100)
    told, _ = find()
    assert len(told) == 160
    assert told.endswith("…")


def test_the_built_in_digits_know_theirs():
    assert find("digits")[0].startswith("CC BY 4.0")
