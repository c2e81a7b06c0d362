"""Decisions by hand: kept at once, applied on the next run, never edits of originals."""

import shutil

import numpy as np
import pandas as pd
from PIL import Image

from fastrec.artefacts import ABSENT, DECISIONS, REJECTED, stage_record
from fastrec.collect import decisions, duplicates, look, manifest, sources
from fastrec.run import Run


def collected(home, make_images):
    make_images(home / "pets", ["cat", "dog"], per_class=2)
    run = Run("t")
    usable, _, _ = manifest.inspect(run, sources.listing("folder:pets").items)
    return run, usable


def test_relabel_and_drop_are_applied(home, make_images):
    run, usable = collected(home, make_images)
    before = {path: path.read_bytes() for path in (home / "pets").rglob("*.png")}
    decisions.decide(run, usable["image_id"][0], "relabel", ["dog"])
    decisions.decide(run, usable["image_id"][1], "drop")
    decisions.decide(run, usable["image_id"][2], "keep")
    mended, rejected = decisions.apply(usable, pd.DataFrame(columns=REJECTED.schema.names), decisions.read(run))
    assert [list(labels) for labels in mended["labels"]] == [["dog"], ["dog"], ["dog"]]
    assert rejected["code"].tolist() == ["dropped"]
    assert {path: path.read_bytes() for path in (home / "pets").rglob("*.png")} == before


def test_no_decision_changes_nothing(home, make_images):
    run, usable = collected(home, make_images)
    none = pd.DataFrame(columns=REJECTED.schema.names)
    mended, rejected = decisions.apply(usable, none, decisions.read(run), ["x=y"])
    pd.testing.assert_frame_equal(mended, usable)
    assert rejected.empty


def test_labels_given_by_hand_are_mapped_as_those_of_the_source_are(home, make_images):
    run, usable = collected(home, make_images)
    decisions.decide(run, usable["image_id"][0], "relabel", ["cats", "dog"])
    decisions.decide(run, usable["image_id"][1], "relabel", ["blurred"])
    decisions.decide(run, usable["image_id"][2], "relabel", [])
    none = pd.DataFrame(columns=REJECTED.schema.names)
    mended, rejected = decisions.apply(usable, none, decisions.read(run), ["cats=cat", "blurred="])
    assert [list(labels) for labels in mended["labels"]] == [["cat", "dog"], [], ["dog"]]
    assert rejected["code"].tolist() == ["dropped_class"]
    assert rejected["message"][0] == "pets/cat/001.png has by hand only labels that label_map drops."


def test_a_label_that_the_map_leaves_as_a_class_is_meant_as_it_stands(home, make_images):
    run, usable = collected(home, make_images)
    decisions.decide(run, usable["image_id"][0], "relabel", ["dog"])
    none = pd.DataFrame(columns=REJECTED.schema.names)
    for swapped in (["cat=dog", "dog=cat"], ["dog=", "cat=dog"]):
        mended, rejected = decisions.apply(usable, none, decisions.read(run), swapped)
        assert list(mended["labels"][0]) == ["dog"]
        assert rejected.empty


def test_a_later_decision_replaces_and_undo_takes_back(home, make_images):
    run, usable = collected(home, make_images)
    image = usable["image_id"][0]
    decisions.decide(run, image, "drop")
    decisions.decide(run, image, "keep")
    assert decisions.read(run)["action"].tolist() == ["keep"]
    assert decisions.undo(run) == [image]
    assert decisions.read(run)["action"].tolist() == ["drop"]  # what stood before is back
    assert decisions.undo(run) == [image]
    assert decisions.undo(run) == []
    assert decisions.read(run).empty


def test_a_decision_on_several_pictures_is_one(home, make_images):
    run, usable = collected(home, make_images)
    decisions.decide(run, usable["image_id"][0], "drop")
    pair = list(usable["image_id"][1:3])
    decisions.decide(run, pair, "relabel", ["dog", "cat"])
    assert [list(labels) for labels in decisions.latest(run)["labels"]] == [[], ["cat", "dog"], ["cat", "dog"]]
    assert decisions.undo(run) == pair
    assert decisions.actions(run) == {usable["image_id"][0]: "drop"}


def test_a_decision_made_while_the_stage_is_open_leaves_it_out_of_date(home, make_images):
    run, usable = collected(home, make_images)
    run.start("collect", {})
    assert decisions.read(run).empty
    decisions.decide(run, usable["image_id"][0], "drop")
    decisions.latest(run)
    run.finish()
    record = run.read(stage_record("collect"))
    assert record.inputs == {DECISIONS.file: ABSENT}
    assert DECISIONS.file not in record.outputs


def test_a_label_of_ones_own_settles_a_quarrel(home, make_images):
    root = make_images(home / "pets", ["cat", "dog"], per_class=3)
    shutil.copy(root / "cat/001.png", root / "dog/liar.png")
    run, items = Run("t"), sources.listing("folder:pets").items
    image = look.identity((root / "cat/001.png").read_bytes(), None)
    before, refused, *_ = manifest.inspect(run, items)
    assert image not in set(before["image_id"])
    assert refused["code"].tolist() == ["label_conflict"] * 2
    decisions.decide(run, image, "relabel", ["dog"])
    usable, refused, *_ = manifest.inspect(run, items)
    usable, refused = decisions.apply(usable, refused, decisions.read(run))
    kept = usable.set_index("image_id").loc[image]
    assert (kept["path"], list(kept["labels"])) == ("pets/cat/001.png", ["dog"])
    assert refused["code"].tolist() == ["duplicate"]


def test_a_report_counts_what_was_decided(home, make_images):
    run, usable = collected(home, make_images)
    assert decisions.summary(run) == "No picture was decided on by hand yet."
    decisions.decide(run, usable["image_id"][0], "drop")
    assert decisions.summary(run)["pictures"].to_dict() == {"drop": 1}


def test_what_is_left_of_a_film_hangs_together_without_the_frames_that_were_dropped(home, make_images):
    make_images(home / "pets", ["cat", "dog"], per_class=2)
    random = np.random.default_rng(0)
    first = random.integers(0, 200, (64, 64, 3))
    for k in range(40):
        frame = first + random.integers(0, 9, first.shape) + k // 8
        Image.fromarray(frame.astype(np.uint8)).save(home / f"pets/cat/frame{k}.png")
    run, items = Run("t"), sources.listing("folder:pets").items
    near = manifest.inspect(run, items)[2]
    assert len(duplicates.clusters(near)) == 40
    linking = near[["image_id", "other_id"]].stack().value_counts().index[:20].tolist()
    decisions.decide(run, linking, "drop")
    near = manifest.inspect(run, items)[2]
    assert not set(linking) & {*near["image_id"], *near["other_id"]}
    clusters = duplicates.clusters(near)
    assert len(clusters) == 20
    assert len(set(clusters.values())) == 1
