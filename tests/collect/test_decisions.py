"""Decisions by hand: kept at once, applied on the next run, never edits of originals."""

import pandas as pd

from fastrec.artefacts import REJECTED
from fastrec.collect import decisions, manifest, sources, widgets
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


def test_a_later_decision_replaces_and_undo_takes_back(home, make_images):
    run, usable = collected(home, make_images)
    image = usable["image_id"][0]
    decisions.decide(run, image, "drop")
    decisions.decide(run, image, "keep")
    assert decisions.read(run)["action"].tolist() == ["keep"]
    assert decisions.undo(run).empty


def test_the_widget_writes_each_click_and_goes_on_where_it_stopped(home, make_images):
    run, usable = collected(home, make_images)
    panel = widgets.label(run, usable)
    note, _, others, by_class = panel.children
    assert "pets/cat/000.png" in note.value
    by_class.children[1].click()  # dog
    assert "(3 to go)" in note.value
    others.children[1].click()  # drop
    assert decisions.read(run)["action"].tolist() == ["relabel", "drop"]
    others.children[2].click()  # undo
    assert decisions.read(run)["action"].tolist() == ["relabel"]
    again = widgets.label(run, usable)
    assert "(3 to go)" in again.children[0].value


def test_the_widget_escapes_a_hostile_name(home, make_images):
    make_images(home / "pets", ["cat", "dog"], per_class=1)
    (home / "pets/cat").rename(home / "pets" / "<img src=x onerror=alert(1)>")
    run = Run("t")
    usable, _, _ = manifest.inspect(run, sources.listing("folder:pets").items)
    assert "<img" not in widgets.label(run, usable).children[0].value
