"""Sources: what they list, and what they refuse in one sentence."""

import os
import shutil
import tempfile
from contextlib import contextmanager
from pathlib import Path

import pytest

from fastrec.collect import manifest, sources
from fastrec.collect.sources import folder
from fastrec.files import FastrecError
from fastrec.run import Run


def names(listing):
    return [item.path.name for item in listing.items if not item.problem]


def problems(listing):
    return {item.path.name: item.problem[0] for item in listing.items if item.problem}


def test_digits_are_written_once_and_listed(home):
    first = sources.listing("digits")
    stamp = (home / "data/digits/0/0000.png").stat().st_mtime_ns
    assert len(first.items) == 1797
    assert first.classes == [str(k) for k in range(10)]
    assert sources.listing("digits") == first
    assert (home / "data/digits/0/0000.png").stat().st_mtime_ns == stamp


def test_folder_labels_by_the_first_folder(home, make_images):
    make_images(home / "pets", ["cat", "dog"], per_class=2)
    (home / "pets/cat/deep").mkdir()
    (home / "pets/cat/000.png").rename(home / "pets/cat/deep/000.png")
    found = sources.listing("folder:pets")
    assert found.classes == ["cat", "dog"]
    assert [item.labels for item in found.items] == [("cat",), ("cat",), ("dog",), ("dog",)]


def test_split_parents_become_hints(home, make_images):
    for parent in ("train", "val", "Test"):
        make_images(home / "pets" / parent, ["cat", "dog"], per_class=1)
    found = sources.listing("folder:pets")
    assert found.classes == ["cat", "dog"]
    assert {item.split_hint for item in found.items} == {"train", "valid", "test"}


def test_a_class_called_test_is_a_class_when_it_holds_pictures(home, make_images):
    make_images(home / "words", ["test", "other"], per_class=2)
    assert sources.listing("folder:words").classes == ["other", "test"]


def test_what_is_no_picture_is_listed_with_its_reason(home, make_images):
    root = make_images(home / "pets", ["cat", "dog"], per_class=2)
    (root / "README.md").write_text("about")
    (root / "stray.png").write_bytes(b"x")
    (root / "cat" / ".hidden.png").write_bytes(b"x")
    (root / "cat" / "link.png").symlink_to(root / "dog" / "000.png")
    (root / "cat" / "loop").symlink_to(root)
    found = problems(sources.listing("folder:pets"))
    assert found == {
        "README.md": "not_a_picture",
        "stray.png": "no_label",
        ".hidden.png": "hidden",
        "link.png": "link",
        "loop": "link",
    }


def test_hidden_folders_and_those_of_macos_are_no_classes(home, make_images):
    make_images(home / "pets", ["cat", "dog", ".thumbnails", "__MACOSX"], per_class=2)
    found = sources.listing("folder:pets")
    assert found.classes == ["cat", "dog"]
    assert [item.problem[0] for item in found.items if item.problem] == ["hidden"] * 4


@contextmanager
def nobody():
    """Give up the rights of root, who may read everything."""
    before = os.geteuid()
    try:
        if not before:
            os.seteuid(65534)
        yield
    finally:
        os.seteuid(before)


@pytest.fixture
def pets(make_images):
    """Make pictures where anybody may come, which the folder of a test is not; all may be read again at the end."""
    with tempfile.TemporaryDirectory() as below:
        root = make_images(Path(below) / "pets", ["train/cat", "train/dog", "test/cat", "test/dog"], per_class=1)
        Path(below).chmod(0o755)
        yield root
        for path in [root, *root.glob("*"), *root.glob("*/*")]:
            path.chmod(0o755)


@pytest.mark.parametrize("name", ["", "train", "train/dog"])
def test_a_folder_without_which_a_class_would_lack_must_be_readable(pets, name):
    (pets / name).chmod(0)
    with nobody(), pytest.raises(FastrecError, match=rf"{pets / name} cannot be read \(Permission denied\): check"):
        folder.listing(pets)


def test_a_deeper_folder_that_cannot_be_read_is_listed(pets):
    for name in ("train/cat/deep", ".hidden"):
        (pets / name).mkdir(mode=0)
    with nobody():
        assert problems(folder.listing(pets)) == {"deep": "unreadable", ".hidden": "unreadable"}


def test_a_folder_beyond_the_longest_path_is_listed_and_refused(home, make_images, monkeypatch):
    make_images(home / "pets", ["cat", "dog"], per_class=1)
    monkeypatch.chdir(home / "pets/cat")
    for _ in range(18):
        Path("d" * 240).mkdir()
        os.chdir("d" * 240)
    monkeypatch.undo()
    monkeypatch.setenv("FASTREC_HOME", str(home))
    found = sources.listing("folder:pets")
    assert [item.problem[0] for item in found.items if item.problem] == ["unreadable"]
    assert sources.fingerprint("folder:pets")
    _, rejected, _ = manifest.inspect(Run("t"), found.items)
    shutil.rmtree(home / "pets/cat")  # who looks through all that tests left would stumble
    assert rejected["message"].str.contains(r"is a folder that cannot be read \(File name too long\)").all()


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ("digist", "digits"),
        ("folder:", "names no path"),
        ("folder:nowhere", "is not there"),
        ("csv:nowhere.csv", "is not there"),
        ("folder:empty", "no images"),
        ("folder:one", "one class only"),
        ("folder:gap", "'dog'"),
    ],
)
def test_useless_sources_are_refused_in_one_sentence(home, make_images, source, says):
    (home / "empty").mkdir()
    make_images(home / "one", ["cat"], per_class=2)
    make_images(home / "gap", ["cat"], per_class=2)
    (home / "gap" / "dog").mkdir()
    with pytest.raises(FastrecError, match=says) as caught:
        sources.listing(source)
    assert "\n" not in str(caught.value)


def test_csv_gives_label_split_and_group(home, make_images):
    make_images(home / "pets", ["cat", "dog"], per_class=2)
    (home / "pets/table.csv").write_text(
        "Path,Label,split,group\ncat/000.png,cat,train,g1\ncat/001.png,cat,,\ndog/000.png,Dog $x$,val,\n"
    )
    found = sources.listing("csv:pets/table.csv")
    assert names(found) == ["000.png", "001.png", "000.png"]
    assert found.classes == ["Dog $x$", "cat"]
    assert [(item.split_hint, item.group) for item in found.items] == [("train", "g1"), (None, None), ("valid", None)]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "cannot be read"),
        ("file,label\na,b\n", "no column 'path'"),
        ("path,label\na.png,\n", "row 2 has an empty label"),
        ("path,label,split\na.png,b,half\n", "row 2 has split 'half'"),
        ("path,label\na.png,b\na.png,c\n", "twice"),
        ('path,label\n"a.png,b\n', "cannot be read|no column|row"),
    ],
)
def test_bad_tables_name_the_row_or_column(home, text, says):
    (home / "t.csv").write_text(text)
    with pytest.raises(FastrecError, match=says):
        sources.listing("csv:t.csv")


def test_csv_that_is_no_text_is_refused(home):
    (home / "t.csv").write_bytes(b"\xff\xfe\x00\x80path")
    with pytest.raises(FastrecError, match=r"t\.csv"):
        sources.listing("csv:t.csv")


def test_fingerprint_changes_with_any_file_and_only_then(home, make_images):
    root = make_images(home / "pets", ["cat", "dog"], per_class=2)
    before = sources.fingerprint("folder:pets")
    assert sources.fingerprint("folder:pets") == before
    os.utime(root / "cat/000.png", ns=(1, 1))
    touched = sources.fingerprint("folder:pets")
    assert touched != before
    (root / "cat/000.png").rename(root / "dog/9.png")
    assert sources.fingerprint("folder:pets") != touched


@pytest.mark.parametrize("source", ["archive:none.zip", "archive:" + "n" * 300, "urls:none.csv", "archive:", "foldr:x"])
def test_the_fingerprint_of_what_is_not_there_is_refused_in_one_sentence(home, source):
    with pytest.raises(FastrecError):
        sources.fingerprint(source)


@pytest.mark.parametrize("source", ["digits", "fastai:MNIST_TINY", "torchvision:CIFAR10", "hf:me/pets"])
def test_the_fingerprint_of_a_set_that_is_not_there_makes_and_fetches_nothing(home, source):
    sources.fingerprint(source)
    assert not (home / "data").exists()


def test_a_relative_path_starts_at_home_not_at_the_working_directory(home, make_images, monkeypatch):
    make_images(home / "pets", ["cat", "dog"], per_class=2)
    monkeypatch.chdir(Path("/"))
    assert len(sources.listing("folder:pets").items) == 4


def test_several_sources_are_one(home, make_images):
    make_images(home / "one", ["cat", "dog"], per_class=2)
    make_images(home / "two", ["dog", "owl"], per_class=2, seed=1)
    found = sources.listing(["folder:one", "folder:two"])
    assert found.classes == ["cat", "dog", "owl"]
    assert len(found.items) == 8


def test_label_map_renames_merges_and_drops(home, make_images):
    make_images(home / "pets", ["Cat", "cats", "dog", "junk"], per_class=2)
    found = sources.listing("folder:pets", ["Cat=cat", "cats=cat", "junk="])
    assert found.classes == ["cat", "dog"]
    assert [item.problem[0] for item in found.items if item.problem] == ["dropped_class"] * 2
    with pytest.raises(FastrecError, match="label_map has the entry 'junk'"):
        sources.listing("folder:pets", ["junk"])
    with pytest.raises(FastrecError, match="renames 'Dog', which no source has: did you mean dog"):
        sources.listing("folder:pets", ["Dog=dog"])


def test_parquet_takes_lists_of_labels_and_boxes(home):
    import pandas as pd

    rows = {"path": ["a.png", "a.png"], "labels": [["x", "y"], ["y"]]}
    boxes = {"left": [0, 4], "top": [0, 4], "width": [8, 8], "height": [8, 8]}
    pd.DataFrame(rows | boxes).to_parquet(home / "t.parquet")
    found = sources.listing("parquet:t.parquet")
    assert [(item.labels, item.box) for item in found.items] == [
        (("x", "y"), (0.0, 0.0, 8.0, 8.0)),
        (("y",), (4.0, 4.0, 8.0, 8.0)),
    ]


def test_a_bad_box_names_its_row(home):
    (home / "t.csv").write_text("path,label,left,top,width,height\na.png,x,0,0,8,-1\n")
    with pytest.raises(FastrecError, match="row 2 has the box"):
        sources.listing("csv:t.csv")
