"""Likely label errors: found by cleanlab, only while they are open, and never an input of collect."""

import sys

import numpy as np
import pandas as pd
import pytest

from fastrec import labels
from fastrec.artefacts import CACHE, FOLDS, MANIFEST, QUALITY
from fastrec.collect import decisions, label_errors
from fastrec.files import FastrecError

CLASSES = ["a", "b", "c"]


def folds(given, true, several=False):
    """Return FOLDS of models that know the true labels, and are less sure the later a picture comes."""
    sure = np.linspace(0.95, 0.7, len(true))
    right = labels.indicators(true, CLASSES)
    scores = np.where(right, sure[:, None], (1 - sure[:, None]) / (1 if several else 2))
    names = [f"i{k:03d}" for k in range(len(true))]
    return pd.DataFrame({"image_id": names, "fold": 0, "label": given, "predicted": true, "scores": list(scores)})


def test_planted_errors_are_found_and_ranked():
    true = [CLASSES[k % 3] for k in range(90)]
    given = list(true)
    given[4], given[40], given[80] = "a", "a", "a"
    found = label_errors.suspects(folds(given, true), CLASSES)
    assert found["image_id"].tolist() == ["i004", "i040", "i080"]
    assert found["suggested"].tolist() == [true[4], true[40], true[80]]
    assert found["score"].is_monotonic_decreasing
    assert found["score"].between(0.7, 0.95).all()


def test_planted_errors_among_several_labels_are_found():
    true = [["a", "a|b", "b|c", "c"][k % 4] for k in range(120)]
    given = list(true)
    given[5], given[50] = "a", "b"  # b is forgotten, c is forgotten
    found = label_errors.suspects(folds(given, true, several=True), CLASSES, multi_label=True)
    assert dict(zip(found["image_id"], found["suggested"], strict=True)) == {"i005": true[5], "i050": true[50]}
    assert list(found.columns) == list(label_errors.COLUMNS)


def test_right_labels_and_no_labels_leave_no_suspects():
    true = [CLASSES[k % 3] for k in range(30)]
    assert label_errors.suspects(folds(true, true), CLASSES).empty
    assert label_errors.suspects(folds([], []), CLASSES).empty


def test_a_table_of_other_classes_is_refused():
    true = [CLASSES[k % 3] for k in range(30)]
    with pytest.raises(FastrecError, match="scores of 3 classes, not 4: run tune again"):
        label_errors.suspects(folds(true, true), [*CLASSES, "d"])
    with pytest.raises(FastrecError, match="has the label 'c', which is no class now"):
        label_errors.suspects(folds(true, true), ["a", "b", "d"])


@pytest.fixture
def judged(run):
    """Return a run whose folds doubt three pictures, and the manifest rows of these."""
    manifest = run.read(MANIFEST)
    wrong = manifest.iloc[[1, 5, 40]]
    given = manifest["labels"].str[0]
    other = given.map({"cat": "dog", "dog": "cat"})
    predicted = other.where(manifest["image_id"].isin(wrong["image_id"]), given)
    scores = [[0.9, 0.1] if name == "cat" else [0.1, 0.9] for name in predicted]
    table = manifest[["image_id"]].assign(fold=0, label=given, predicted=predicted, scores=scores)
    run.write(FOLDS, table)
    return run, wrong


def test_suspects_become_rows_of_the_audit(judged):
    run, wrong = judged
    other = pd.DataFrame([["odd_size", "x", None, 9.0, "odd"]], columns=QUALITY.schema.names)
    table = label_errors.add(run, run.read(MANIFEST), other)
    run.write(QUALITY, table)
    assert table["issue"].tolist() == ["odd_size", *[label_errors.ISSUE] * 3]
    assert set(table["image_id"][1:]) == set(wrong["image_id"])
    told = table.set_index("image_id")["message"][wrong["image_id"].iloc[0]]
    assert told == "pets/cat/001.png is labelled cat; a model that did not learn from it says dog (0.90)."


def test_what_was_decided_or_relabelled_or_has_gone_is_no_suspect(judged):
    run, wrong = judged
    manifest = run.read(MANIFEST)
    decisions.decide(run, wrong["image_id"].iloc[0], "keep")
    manifest.loc[manifest["image_id"] == wrong["image_id"].iloc[1], "labels"] = pd.Series([["dog"]] * 60)
    manifest = manifest[manifest["image_id"] != wrong["image_id"].iloc[2]]
    assert label_errors.of_run(run, manifest).empty


def test_the_look_back_is_no_input_of_collect(judged):
    run, _ = judged
    run.start("collect", {})
    assert len(label_errors.of_run(run, run.read(MANIFEST))) == 3
    run.finish()
    assert not run.record("collect").inputs


def test_without_folds_or_cleanlab_the_audit_goes_on(judged, monkeypatch, capsys):
    run, _ = judged
    quality, manifest = pd.DataFrame(columns=QUALITY.schema.names), run.read(MANIFEST)
    for name in [name for name in sys.modules if name.partition(".")[0] == "cleanlab"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "cleanlab", None)
    assert label_errors.add(run, manifest, quality).empty
    assert "pip install 'fastrec[quality]'" in capsys.readouterr().out
    run.path(FOLDS).unlink()
    assert label_errors.add(run, manifest, quality).empty
    run.path(CACHE).unlink()
    assert label_errors.of_run(run, manifest).empty
    assert capsys.readouterr().out == ""
