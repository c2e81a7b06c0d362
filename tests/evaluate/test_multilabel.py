"""Figures of sets of labels, beside those of scikit-learn and of single labels."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from fastrec import labels
from fastrec.evaluate import errors, metrics, multilabel

CLASSES = ["a", "b", "c"]
PAIRS = st.integers(1, 40).flatmap(lambda n: st.tuples(*[hnp.arrays(bool, (n, 3))] * 2))


def texts(indicators):
    return pd.Series([labels.join(np.array(CLASSES, object)[row]) for row in indicators])


@given(PAIRS, st.integers(0, 99))
def test_the_fast_path_of_the_bootstrap_is_scikit_learn_on_the_drawn_pictures(pair, seed):
    truth, guess = pair
    drawn = np.random.default_rng(seed).integers(len(truth), size=len(truth))
    fast = multilabel.of_drawn(truth, guess)(drawn)
    slow = multilabel.points(truth[drawn], guess[drawn])
    for name, value in slow.items():
        assert fast[name] == pytest.approx(value, nan_ok=True), name


def test_one_class_that_is_there_or_not_is_a_set_too():
    truth, guess = np.array([[1], [1], [0], [0]], bool), np.array([[1], [0], [0], [1]], bool)
    fast, slow = multilabel.of_drawn(truth, guess)(np.arange(4)), multilabel.points(truth, guess)
    assert fast == slow == pytest.approx(dict.fromkeys(slow, 0.5))


@given(PAIRS)
def test_confusion_counts_what_is_found_and_what_is_wrongly_added(pair):
    truth, guess = pair
    found = multilabel.confusion(truth, guess)
    for i in range(3):
        for j in range(3):
            wrong = truth[:, i] & guess[:, j] & (~truth[:, j] if i != j else True)
            assert found[i, j] == wrong.sum()


@given(hnp.arrays(np.int64, st.tuples(st.just(2), st.integers(30, 60)), elements=st.integers(0, 2)))
def test_on_single_labels_recall_precision_and_f1_are_those_of_single_labels(codes):
    given_, told = (pd.Series(np.array(CLASSES, object)[row]) for row in codes)
    one = metrics.from_labels(given_, told, CLASSES, 100)
    several = metrics.from_labels(given_, told, CLASSES, 100, multi_label=True)
    for name in ("accuracy", "macro_precision", "macro_recall", "macro_f1", "weighted_f1"):
        assert one[name].model_dump() == pytest.approx(several[name].model_dump(), nan_ok=True)


def test_what_is_not_defined_is_null_with_a_note():
    truth = np.array([[1, 0, 1], [1, 0, 0], [1, 0, 1]], bool)
    found = metrics.from_labels(texts(truth), texts(truth[::-1]), CLASSES, 100, multi_label=True)
    assert found["macro_recall"].value is None
    assert "class 'b' without test images" in found["macro_recall"].note
    assert "class 'b' never predicted" in found["macro_precision"].note
    held = pd.Series(["a", "a|b", "a"])
    seen = metrics.from_labels(held, held, ["a", "b"], 100, multi_label=True)
    assert seen["balanced_accuracy"].note == "not defined: class 'a' on every test image"
    none = np.zeros_like(truth)
    assert metrics.from_labels(texts(none), texts(truth), CLASSES, 100, multi_label=True)["weighted_f1"].value is None


@given(hnp.arrays(bool, (8, 3)), hnp.arrays(float, (8, 3), elements=st.floats(0, 1)))
def test_the_log_loss_is_the_mean_over_pictures_and_classes(truth, scores):
    told, certainty = labels.answers(scores, CLASSES, [0.5] * 3)
    table = pd.DataFrame({"label": texts(truth), "predicted": told, "score": certainty, "scores": list(scores)})
    found = metrics.summary(table, CLASSES, 100, multi_label=True)["log_loss"]
    assert found.value == pytest.approx(multilabel.losses(truth, scores).mean(), abs=1e-9)


def test_confused_sets_are_told_with_words_for_none():
    table = pd.DataFrame({"image_id": ["1", "2"], "label": ["a|b", ""], "predicted": ["a", "c"], "score": [0.9, 0.8]})
    told = errors.confused_in_words(errors.confused(table), multi_label=True)
    assert told.startswith("Most often ")
    assert "no label is taken for c once (100.0% of no label)" in told
    assert "a + b is taken for a once" in told
    assert "another set of labels" in errors.confused_in_words(errors.confused(table.head(0)), multi_label=True)
