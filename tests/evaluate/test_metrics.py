import json

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sk

from fastrec.evaluate import intervals, metrics
from fastrec.records import Interval, PerClass

CLASSES = ["a", "b", "c", "d"]
PAIRS = st.lists(st.tuples(st.sampled_from(CLASSES), st.sampled_from(CLASSES)), min_size=2, max_size=60)


def answers(pairs):
    return pd.Series([label for label, _ in pairs]), pd.Series([guess for _, guess in pairs])


def simulated(n=400, accuracy=0.8, seed=0, classes=CLASSES):
    """Predictions with random scores, of about the given accuracy."""
    rng = np.random.default_rng(seed)
    truth = np.arange(n) % len(classes)
    logits = rng.normal(0, 1, (n, len(classes)))
    logits[np.arange(n), truth] += np.where(rng.random(n) < accuracy, 4.0, 0.0)
    scores = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    names = np.array(classes, object)
    best = scores.argmax(1)
    return pd.DataFrame(
        {"label": names[truth], "predicted": names[best], "score": scores.max(1), "scores": list(scores)}
    )


def every_class_appears(labels, predicted):
    return set(CLASSES) == set(labels) == set(predicted)


@settings(max_examples=60, deadline=None)
@given(pairs=PAIRS)
def test_values_are_those_of_scikit_learn_or_null(pairs):
    labels, predicted = answers(pairs)
    found = metrics.from_labels(labels, predicted, CLASSES, n_boot=100)
    assert found["accuracy"].value == pytest.approx(sk.accuracy_score(labels, predicted))
    weighted = sk.f1_score(labels, predicted, labels=CLASSES, average="weighted", zero_division=0)
    assert found["weighted_f1"].value == pytest.approx(weighted)
    means = {"macro_precision": sk.precision_score, "macro_recall": sk.recall_score, "macro_f1": sk.f1_score}
    for name, function in means.items():
        lacking = predicted if name == "macro_precision" else labels
        if set(lacking) == set(CLASSES):
            expected = function(labels, predicted, labels=CLASSES, average="macro", zero_division=0)
            assert found[name].value == pytest.approx(expected)
        else:
            assert found[name].value is None
            assert found[name].low is None
            assert repr(min(set(CLASSES) - set(lacking))) in found[name].note
    if set(labels) == set(CLASSES) and set(predicted) <= set(labels):
        assert found["balanced_accuracy"].value == pytest.approx(sk.balanced_accuracy_score(labels, predicted))


@settings(max_examples=40, deadline=None)
@given(pairs=PAIRS)
def test_intervals_hold_their_values_and_stay_between_0_and_1(pairs):
    for name, found in metrics.from_labels(*answers(pairs), CLASSES, n_boot=100).items():
        Interval.model_validate(found.model_dump())
        if found.low is not None:
            assert 0 <= found.low <= found.value <= found.high <= 1, name


def test_intervals_are_those_of_scikit_learn_on_each_resample():
    table = simulated(120)
    functions = {
        "accuracy": sk.accuracy_score,
        "balanced_accuracy": sk.balanced_accuracy_score,
        "macro_precision": lambda t, p: sk.precision_score(t, p, average="macro"),
        "macro_recall": lambda t, p: sk.recall_score(t, p, average="macro"),
        "macro_f1": lambda t, p: sk.f1_score(t, p, average="macro"),
        "weighted_f1": lambda t, p: sk.f1_score(t, p, average="weighted"),
    }
    label, predicted = table["label"].to_numpy(), table["predicted"].to_numpy()
    slow = intervals.resample(
        lambda drawn: {name: of(label[drawn], predicted[drawn]) for name, of in functions.items()}, 120, 100, seed=5
    )
    fast = metrics.summary(table, CLASSES, n_boot=100, seed=5)
    for name in functions:
        low, high = np.percentile(slow[name], [2.5, 97.5])
        assert (fast[name].low, fast[name].high) == (pytest.approx(low), pytest.approx(high)), name


def test_log_loss_is_that_of_scikit_learn_also_where_the_truth_has_no_score():
    table = simulated(60)
    scores = np.stack(table["scores"])
    scores[0] = [0.0, 1.0, 0.0, 0.0]
    table["scores"] = list(scores)
    found = metrics.summary(table, CLASSES, n_boot=100)["log_loss"]
    assert found.value == pytest.approx(sk.log_loss(table["label"], scores, labels=CLASSES))
    assert np.isfinite([found.low, found.high]).all()


def test_all_right_still_leaves_room_for_doubt():
    labels = pd.Series(CLASSES * 25)
    found = metrics.from_labels(labels, labels, CLASSES, n_boot=100)
    assert found["accuracy"].low == pytest.approx(0.025 ** (1 / 100))
    assert found["accuracy"].high == 1
    assert (found["macro_f1"].value, found["macro_f1"].low) == (1.0, None)
    assert "no interval" in found["macro_f1"].note


def test_accuracy_intervals_cover_the_truth_about_95_times_in_100():
    rng, covered = np.random.default_rng(1), 0
    for seed in range(150):
        labels = pd.Series(rng.choice(CLASSES, 150))
        wrong = labels.map(dict(zip(CLASSES, CLASSES[1:] + CLASSES[:1], strict=True)))
        predicted = labels.where(rng.random(150) < 0.8, wrong)
        found = metrics.from_labels(labels, predicted, CLASSES, n_boot=200, seed=seed)["accuracy"]
        covered += found.low <= 0.8 <= found.high
    assert 0.90 <= covered / 150 <= 0.99


@given(pairs=PAIRS)
def test_per_class_figures_are_null_exactly_where_they_are_undefined(pairs):
    labels, predicted = answers(pairs)
    found = metrics.per_class(pd.DataFrame({"label": labels, "predicted": predicted}), CLASSES)
    assert list(found) == CLASSES
    for name, figures in found.items():
        hits = int(((labels == name) & (predicted == name)).sum())
        support, named = int((labels == name).sum()), int((predicted == name).sum())
        assert figures.support == support
        assert figures.recall == (pytest.approx(hits / support) if support else None)
        assert figures.precision == (pytest.approx(hits / named) if named else None)
        assert figures.f1 == (pytest.approx(2 * hits / (support + named)) if support else None)


@given(pairs=PAIRS)
def test_the_confusion_matrix_counts_every_image_once(pairs):
    labels, predicted = answers(pairs)
    matrix = np.array(metrics.confusion(pd.DataFrame({"label": labels, "predicted": predicted}), CLASSES))
    assert matrix.sum() == len(pairs)
    assert list(matrix.sum(1)) == [list(labels).count(name) for name in CLASSES]
    assert np.trace(matrix) == (labels == predicted).sum()
    json.dumps(matrix.tolist())


def test_the_table_of_figures_has_a_row_each_and_tells_what_is_undefined():
    found = {"accuracy": Interval(value=0.5, low=0.4, high=0.6), "macro_f1": Interval(value=None, note="no images")}
    table = metrics.table(found)
    assert table.loc["accuracy"].tolist() == [0.5, 0.4, 0.6, ""]
    assert table.loc["macro_f1", "note"] == "no images"
    assert table.loc["macro_f1", ["value", "low", "high"]].isna().all()


def test_the_class_table_puts_the_weakest_first_and_widens_rare_classes():
    figures = {
        "good": PerClass(precision=1.0, recall=0.9, f1=0.95, support=1000),
        "rare": PerClass(precision=0.5, recall=0.9, f1=0.6, support=10),
        "absent": PerClass(precision=None, recall=None, f1=None, support=0),
    }
    table = metrics.class_table(figures)
    assert list(table.index) == ["rare", "good", "absent"]
    width = (table["recall_high"] - table["recall_low"]).astype(float)
    assert width["rare"] > 5 * width["good"]
    assert np.isnan(width["absent"])
