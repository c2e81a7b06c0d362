"""The manifest: every file is either a row or a refusal with a reason."""

import multiprocessing
import os
import shutil
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from fastrec import engine, images, provenance
from fastrec.artefacts import MANIFEST, REJECTED, SEEN
from fastrec.collect import look, manifest, seen, sources
from fastrec.collect.sources import Item
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


def test_of_equal_files_the_one_of_the_given_test_split_is_kept(home, make_images):
    make_images(home / "loose", ["cat", "dog"], per_class=6)
    for label in ("cat", "dog"):
        (home / "zoo/test" / label).mkdir(parents=True)
        (home / "zoo/train" / label).mkdir(parents=True)
        for k in range(6):
            shutil.copy(home / f"loose/{label}/00{k}.png", home / f"zoo/{'test' if k % 2 else 'train'}/{label}")
    items = sources.listing(["folder:loose", "folder:zoo"]).items
    usable, rejected, _ = manifest.inspect(Run("t"), items)
    assert usable["split_hint"].value_counts().to_dict() == {"train": 6, "test": 6}
    assert rejected["path"].str.startswith("loose/").all()


def test_a_class_that_is_lost_is_told_with_its_own_reasons(home, make_images):
    root = make_images(home / "pets", ["dog"], per_class=3)
    shutil.copy(root / "dog/000.png", root / "dog/copy.png")
    (root / "cat").mkdir()
    (root / "cat/1.png").touch()
    with pytest.raises(FastrecError, match=r"class 'cat' has no usable image \(refused: 1 empty_file\)"):
        collect()


def test_a_class_whose_name_is_not_utf8_is_named(home, make_images):
    make_images(home / "pets", ["dog"], per_class=3)
    folder = home / "pets" / os.fsdecode(b"caf\xe9")
    folder.mkdir()
    shutil.copy(home / "pets/dog/000.png", folder)
    with pytest.raises(FastrecError, match=r"class b'caf\\xe9' of folder:pets is not UTF-8: rename its folder"):
        collect()


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


@pytest.fixture
def looks(monkeypatch):
    """Return a list that grows by what each look at a file told."""
    told, progress = [], engine.progress

    def spy(items, total, what):
        for item in progress(items, total, what):
            told.append(item)
            yield item

    monkeypatch.setattr(engine, "progress", spy)
    return told


def decoded(looks):
    """Count the contents that were decoded since the last call."""
    count = sum(len(row) > 3 for answer in looks for row in answer)
    looks.clear()
    return count


def spoilt(root):
    (root / "cat/page.jpg").write_text("<html>")
    (root / "dog/cut.png").write_bytes((root / "dog/000.png").read_bytes()[:100])


def test_no_content_is_decoded_twice(home, make_images, looks):
    root = make_images(home / "pets", ["cat", "dog"], per_class=4)
    spoilt(root)
    first = collect()
    assert decoded(looks) == 10
    before = Run("t").path(SEEN).read_bytes()
    for one, other in zip(first, collect(), strict=True):
        pd.testing.assert_frame_equal(one, other)
    assert decoded(looks) == 0
    assert Run("t").path(SEEN).read_bytes() == before
    shutil.copy(root / "cat/000.png", root / "dog/renamed.png")
    Image.new("RGB", (20, 20), "red").save(root / "cat/new.png")
    collect()
    assert decoded(looks) == 1


def test_a_picture_that_is_stretched_to_be_measured_gets_no_detail_that_it_has_not(home):
    noise = np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)
    Image.fromarray(noise).save(home / "noise.png")
    told = look.measured([look.look((str(home / "noise.png"), (None,)), frozenset())])[0][0]
    native = images.statistics(noise[None])
    told = dict(zip(SEEN.schema.names, told, strict=False))
    assert told["brightness"] == pytest.approx(native["brightness"][0], abs=1e-6)
    assert told["sharpness"] == pytest.approx(native["sharpness"][0] * 31 / 63, rel=1e-4)


def test_seen_tells_of_each_present_content_and_of_no_other(home, make_images):
    root = make_images(home / "pets", ["cat", "dog"], per_class=4, size=100)
    spoilt(root)
    usable, _, _ = collect()
    table = Run("t").read(SEEN).set_index("image_id")
    assert (table["code"].isna() == table["message"].isna()).all()
    assert sorted(table["code"].dropna()) == ["not_an_image", "truncated"]
    for row in usable.itertuples():
        pixels = images.decode(Run("t").locate(row.path).read_bytes()).pixels
        small = np.asarray(Image.fromarray(pixels).resize((64, 64), Image.Resampling.BOX))
        told = table.loc[row.image_id]
        for name, value in images.statistics(small[None]).items():
            assert told[name] == pytest.approx(value[0], abs=1e-6)
        thumbnail = np.frombuffer(told["thumbnail"], np.uint8).reshape(16, 16, 3)
        assert np.abs(thumbnail - small.reshape(16, 4, 16, 4, 3).mean((1, 3))).max() <= 0.5
        assert (told["width"], told["height"], told["mode"], told["bytes"]) == (100, 100, "RGB", row.bytes)
    (root / "cat/000.png").unlink()
    collect()
    assert len(Run("t").read(SEEN)) == 9


def test_another_decoder_looks_anew(home, make_images, looks, monkeypatch):
    make_images(home / "pets", ["cat", "dog"], per_class=4)
    collect()
    decoded(looks)
    monkeypatch.setattr(provenance, "versions", lambda: {"pillow": "another"})
    collect()
    assert decoded(looks) == 8


@pytest.mark.parametrize("content", [b"", b"PAR1 and no more"])
def test_a_damaged_memory_is_no_obstacle(home, make_images, content):
    make_images(home / "pets", ["cat", "dog"], per_class=4)
    Run("t").path(SEEN).parent.mkdir(parents=True)
    Run("t").path(SEEN).write_bytes(content)
    usable, _, _ = collect()
    assert len(usable) == len(Run("t").read(SEEN)) == 8


def test_a_file_of_many_boxes_is_decoded_once_and_each_box_is_a_picture(home):
    (home / "pets").mkdir()
    Image.effect_noise((100, 60), 90).convert("RGB").save(home / "pets/a.png")
    boxes = [(0.0, 0.0, 20.0, 20.0), (30.0, 0.0, 25.0, 40.0), (500.0, 0.0, 9.0, 9.0), None]
    items = [Item(str(home / "pets/a.png"), (label,), box=box) for label, box in zip("abab", boxes, strict=True)]
    usable, rejected, _ = manifest.inspect(Run("t"), items)
    assert sorted(usable["width"]) == [20, 25, 100]
    assert rejected["code"].tolist() == ["box_outside"]
    assert usable["image_id"].is_unique
    again, _, _ = manifest.inspect(Run("t"), items)
    pd.testing.assert_frame_equal(usable, again)


def fragile(job, known):
    """Look at a file, or do what a broken decoder does."""
    match Path(job[0]).parts[-2:]:
        case "cat", "000.png":
            os.abort()
        case "cat", "001.png":
            time.sleep(60)
        case "cat", "002.png":
            raise MemoryError
    return look.look(job, known)


def test_what_the_decoder_dies_of_is_refused_by_name_and_tried_again(home, make_images, monkeypatch, looks):
    make_images(home / "pets", ["cat", "dog"], per_class=4)
    with monkeypatch.context() as patch:
        patch.setattr(manifest, "look", fragile)
        patch.setattr(engine.map_items, "__defaults__", (None, 0.5, engine.MEMORY))
        usable, rejected, _ = collect()
    assert len(usable) == 5
    assert rejected["code"].tolist() == ["crashed", "timeout", "memory"]
    assert rejected["message"].str.startswith("pets/").all()
    looks.clear()
    usable, rejected, _ = collect()
    assert len(usable) == 8
    assert decoded(looks) == 3


def test_a_collect_that_was_killed_goes_on_where_it_was(home, make_images, looks, monkeypatch):
    make_images(home / "pets", ["cat", "dog"], per_class=500, size=64)
    monkeypatch.setattr(seen, "EVERY", 0.02)
    killed = multiprocessing.get_context("fork").Process(target=collect)
    killed.start()
    while not Run("t").has(SEEN):
        time.sleep(0.01)
    killed.kill()
    killed.join()
    usable, _, _ = collect()
    assert len(usable) == 1000
    assert decoded(looks) < 1000
    assert len(Run("t").read(SEEN)) == 1000


def test_seen_makes_no_stage_stale(home, make_images):
    make_images(home / "pets", ["cat", "dog"], per_class=4)
    run = Run("t").start("collect", {})
    collect(run=run)
    run.read(SEEN)
    run.finish()
    assert run.record("collect").inputs == {}
