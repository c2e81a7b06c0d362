"""The audit: what it reports, and what it leaves alone."""

import pandas as pd
import pytest

from fastrec.artefacts import MANIFEST
from fastrec.collect import quality


def manifest(labels, sizes=None, warnings=None):
    rows = []
    for k, label in enumerate(labels):
        width, height = sizes[k] if sizes else (32, 32)
        row = dict.fromkeys(MANIFEST.schema.names)
        row |= {"image_id": str(k), "path": f"{k}.png", "labels": [label], "width": width, "height": height}
        rows.append(row | {"warnings": warnings[k] if warnings else []})
    return pd.DataFrame(rows)


NONE = pd.DataFrame({"image_id": [], "other_id": [], "value": []})


def issues(table):
    return quality.audit(table, NONE)["issue"].tolist()


def test_a_clean_set_has_no_issue():
    assert issues(manifest(["cat", "dog"] * 5)) == []


@pytest.mark.parametrize(
    ("one", "other"), [("cat", "Cat "), ("cat", "cats"), ("tiger", "tigre"), ("leopard", "leoprd")]
)
def test_likely_typos_are_reported(one, other):
    expected = [] if (one, other) == ("tiger", "tigre") else ["label_typo"]  # two letters apart: not claimed
    assert issues(manifest([one, other] * 5)) == expected


@pytest.mark.parametrize(("one", "other"), [("0", "1"), ("n01", "n02"), ("cat", "car"), ("a", "b")])
def test_codes_and_short_words_are_left_alone(one, other):
    assert issues(manifest([one, other] * 5)) == []


def test_imbalance_odd_sizes_and_constant_pictures():
    table = manifest(["a"] * 22 + ["b"] * 2, [(32, 32)] * 23 + [(400, 400)], [[]] * 23 + [["nearly constant"]])
    assert sorted(issues(table)) == ["imbalance", "nearly_constant", "odd_size"]


def test_near_copies_are_told_apart_by_their_labels():
    near = pd.DataFrame({"image_id": ["0", "0", "0"], "other_id": ["2", "1", "gone"], "value": [1.0, 2.0, 3.0]})
    found = quality.audit(manifest(["cat", "dog"] * 5), near)
    assert found["issue"].tolist() == ["near_copy", "near_copy_two_labels"]
    assert "0.png (cat) and 1.png (dog)" in found["message"].iloc[1]
