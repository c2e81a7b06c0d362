"""The audit: what it reports, and what it leaves alone."""

import pandas as pd
import pytest
from looked import NO_PAIRS, tables

from fastrec import images
from fastrec.collect import manifest, quality, shortcuts, sources
from fastrec.run import Run


def issues(labels, near=NO_PAIRS, **facts):
    table, seen = tables(labels, **facts)
    return quality.audit(table, near, seen)["issue"].tolist()


def test_a_clean_set_has_no_issue():
    assert issues(["cat", "dog"] * 5) == []


@pytest.mark.parametrize(
    ("one", "other"),
    [("cat", "Cat "), ("cat", "cats"), ("tiger", "tigre"), ("leopard", "leoprd"), ("café", "cafe\u0301")],
)
def test_likely_typos_are_reported(one, other):
    expected = [] if (one, other) == ("tiger", "tigre") else ["label_typo"]  # two letters apart: not claimed
    assert issues([one, other] * 5) == expected


@pytest.mark.parametrize(("one", "other"), [("0", "1"), ("n01", "n02"), ("cat", "car"), ("a", "b")])
def test_codes_and_short_words_are_left_alone(one, other):
    assert issues([one, other] * 5) == []


def test_imbalance_odd_sizes_and_warnings():
    sides = [32] * 23 + [400]
    notes = [[]] * 22 + [["first of 3 frames taken"], ["nearly constant"]]
    found = issues(["a"] * 22 + ["b"] * 2, width=sides, height=sides, warnings=notes)
    assert sorted(found) == ["imbalance", "mended", "nearly_constant", "odd_size"]


def test_crops_of_many_sizes_are_not_odd():
    sides = [int(8 * 1.04**k) for k in range(100)]  # the largest has 2,000 times the smallest one's area
    assert issues(["a", "b"] * 50, width=sides, height=sides) == []


def test_dark_pictures_are_listed_with_the_measure():
    levels = {"brightness": [0.02] + [0.5] * 19, "contrast": [0.01] + [0.2] * 19}
    table, seen = tables(["a", "b"] * 10, **levels)
    found = quality.audit(table, NO_PAIRS, seen).iloc[0]
    assert (found["issue"], found["image_id"], found["value"]) == ("dark", table["image_id"][0], pytest.approx(0.04))
    assert found["message"].startswith("x/a/000.png looks dark: hardly anything")


def test_shortcuts_are_listed_for_the_set_as_a_whole():
    table, seen = tables(["a", "b"] * 40, format=["PNG", "JPEG"] * 40)
    found = quality.audit(table, NO_PAIRS, seen)
    assert found["issue"].tolist() == ["shortcut"]
    assert found["image_id"].isna().all()
    assert quality.audit(table, NO_PAIRS, seen, cues=shortcuts.measure(table[:0], NO_PAIRS, seen)).empty


def test_near_copies_are_told_apart_by_their_labels():
    table, seen = tables(["cat", "dog"] * 5)
    zero, one, two = table["image_id"][:3]
    near = pd.DataFrame({"image_id": [zero] * 3, "other_id": [two, one, "gone"], "value": [1.0, 2.0, 3.0]})
    found = quality.audit(table, near, seen)
    assert found["issue"].tolist() == ["near_copy", "near_copy_two_labels"]
    assert "x/cat/000.png (cat) and x/dog/001.png (dog)" in found["message"].iloc[1]


def test_the_digits_have_no_issue_but_near_copies(home):
    run = Run("x")
    table, _, near = manifest.inspect(run, sources.listing("digits").items)
    pictures = [images.decode(images.read_bytes(run.locate(path))).pixels for path in table["path"]]
    seen = tables(["x"] * len(table), pictures)[1].assign(image_id=table["image_id"])
    assert set(quality.audit(table, near, seen)["issue"]) <= {"near_copy", "near_copy_two_labels"}
