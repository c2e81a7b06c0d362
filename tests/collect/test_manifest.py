"""The manifest: every file is either a row or a refusal with a reason."""

import os
import shutil

import pytest
from PIL import Image

from fastrec.artefacts import MANIFEST, REJECTED
from fastrec.collect import manifest, sources
from fastrec.files import FastrecError
from fastrec.run import Run


def collect(source="folder:pets", run=None, limit=None):
    run = run or Run("t")
    items = manifest.limit_per_class(sources.listing(source).items, limit)
    return manifest.inspect(run, items)


def test_every_file_is_a_row_or_a_refusal(home, make_images):
    root = make_images(home / "pets", ["cat", "dog"], per_class=3)
    (root / "cat/empty.jpg").write_bytes(b"")
    (root / "cat/page.jpg").write_text("<html>")
    (root / "dog/cut.png").write_bytes((root / "dog/000.png").read_bytes()[:100])
    os.mkfifo(root / "dog/pipe.png")
    usable, rejected, _ = collect()
    assert len(usable) == 6
    assert dict(zip(rejected["path"], rejected["code"], strict=True)) == {
        "pets/cat/empty.jpg": "empty_file",
        "pets/cat/page.jpg": "not_an_image",
        "pets/dog/cut.png": "truncated",
        "pets/dog/pipe.png": "not_a_file",
    }
    assert all(row.message.startswith(row.path) for row in rejected.itertuples())
    run = Run("t")
    run.write(MANIFEST, usable)
    run.write(REJECTED, rejected)
    assert run.read(MANIFEST)["labels"].map(list).tolist() == [["cat"]] * 3 + [["dog"]] * 3


def test_copies_count_once_and_contradictions_not_at_all(home, make_images):
    root = make_images(home / "pets", ["cat", "dog"], per_class=3)
    shutil.copy(root / "cat/000.png", root / "cat/copy.png")
    shutil.copy(root / "cat/001.png", root / "dog/liar.png")
    usable, rejected, _ = collect()
    assert sorted(usable["path"]) == [
        "pets/cat/000.png",
        "pets/cat/002.png",
        "pets/dog/000.png",
        "pets/dog/001.png",
        "pets/dog/002.png",
    ]
    assert rejected["code"].tolist() == ["label_conflict", "duplicate", "label_conflict"]
    assert usable["image_id"].is_unique


def test_a_class_without_a_usable_image_is_named(home, make_images):
    root = make_images(home / "pets", ["cat", "dog"], per_class=2)
    for path in (root / "dog").iterdir():
        path.write_bytes(b"nothing")
    with pytest.raises(FastrecError, match=r"class 'dog'.*2 not_an_image"):
        collect()


@pytest.mark.parametrize("name", ["-rf.png", "a\nb.png", "$(x) 'q\" é😀.png", "x" * 249 + ".png", b"\xff\xfe.png"])
def test_any_file_name_is_found_again(home, make_images, name):
    root = make_images(home / "pets", ["cat", "dog"], per_class=1)
    (root / "cat/000.png").rename(root / "cat" / os.fsdecode(name))
    run = Run("t")
    usable, rejected, _ = collect(run=run)
    run.write(MANIFEST, usable)
    assert rejected.empty
    assert all(run.locate(path).is_file() for path in run.read(MANIFEST)["path"])


def test_limit_takes_the_same_pictures_wherever_the_folder_lies(home, make_images):
    make_images(home / "pets", ["cat", "dog"], per_class=9)
    shutil.copytree(home / "pets", home / "elsewhere")
    one, _, _ = collect("folder:pets", limit=4)
    other, _, _ = collect("folder:elsewhere", limit=4)
    assert len(one) == 8
    assert set(one["image_id"]) == set(other["image_id"])
    with pytest.raises(FastrecError, match="limit"):
        collect(limit=0)


def test_facts_are_the_files_own(home):
    for name, mode in (("grey", "L"), ("wide", "RGB")):
        (home / "pets" / name).mkdir(parents=True)
        Image.effect_noise((20 if name == "grey" else 40, 20), 90).convert(mode).save(home / "pets" / name / "a.jpg")
    usable, _, _ = collect()
    assert usable[["width", "height", "mode", "format"]].to_numpy().tolist() == [
        [20, 20, "L", "JPEG"],
        [40, 20, "RGB", "JPEG"],
    ]


def test_brain_mri_has_25_redundant_copies(data_dir, home):
    shutil.unpack_archive(data_dir / "brain_mri.zip", home / "mri")
    usable, rejected, _ = collect("folder:mri")
    assert (rejected["code"] == "duplicate").sum() == 25
    assert len(usable) == 228


def test_the_copy_that_is_kept_stands_for_the_groups_of_all(home, make_images):
    root = make_images(home / "pets", ["cat", "dog"], per_class=3)
    shutil.copy(root / "cat/000.png", root / "cat/copy.png")
    lines = ["path,label,group", "cat/000.png,cat,", "cat/copy.png,cat,g2", "cat/001.png,cat,g1", "cat/002.png,cat,g2"]
    (root / "t.csv").write_text("\n".join([*lines, "dog/000.png,dog,", "dog/001.png,dog,"]))
    usable, _, _ = collect("csv:pets/t.csv")
    groups = dict(zip(usable["path"], usable["group"], strict=True))
    assert groups["pets/cat/000.png"] == groups["pets/cat/002.png"] == "g2"
    assert groups["pets/cat/001.png"] == "g1"


def test_groups_that_share_a_picture_become_one(home, make_images):
    root = make_images(home / "pets", ["cat", "dog"], per_class=3)
    shutil.copy(root / "cat/000.png", root / "cat/copy.png")
    lines = [
        "path,label,group",
        "cat/000.png,cat,g1",
        "cat/copy.png,cat,g2",
        "cat/001.png,cat,g1",
        "cat/002.png,cat,g2",
    ]
    (root / "t.csv").write_text("\n".join([*lines, "dog/000.png,dog,g9", "dog/001.png,dog,g9"]))
    usable, _, _ = collect("csv:pets/t.csv")
    assert set(usable["group"]) == {"g1", "g9"}
