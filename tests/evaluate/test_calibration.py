import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.calibration import calibration_curve

from fastrec.evaluate import calibration

SCORES = st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=1, max_size=120)


def judged(scores, right):
    labels = np.where(right, "a", "b")
    return pd.DataFrame({"label": labels, "predicted": "a", "score": scores})


def simulated(n, honest=1.0, seed=0):
    """Predictions right with probability ``score ** (1 / honest)``: honest below 1 is overconfident."""
    rng = np.random.default_rng(seed)
    scores = rng.uniform(0.4, 1, n)
    return judged(scores, rng.random(n) < scores ** (1 / honest))


def test_reliability_agrees_with_scikit_learn():
    table = simulated(1500)
    accuracy, score = calibration_curve(table["label"] == "a", table["score"], n_bins=15, strategy="quantile")
    found = calibration.reliability(table)
    np.testing.assert_allclose(found["accuracy"], accuracy)
    np.testing.assert_allclose(found["score"], score)
    assert (found["images"] == 100).all()


@given(pairs=SCORES)
def test_the_calibration_error_is_the_weighted_gap_of_the_bins(pairs):
    scores, right = (np.array(column) for column in zip(*pairs, strict=True))
    table = calibration.reliability(judged(scores, right))
    expected = ((table["accuracy"] - table["score"]).abs() * table["images"]).sum() / table["images"].sum()
    found = calibration.ece(right, scores, calibration.bin_numbers(scores))
    assert found == pytest.approx(expected, abs=1e-12)
    assert 0 <= found <= 1


@given(pairs=SCORES, seed=st.integers(0, 99))
def test_the_calibration_error_does_not_depend_on_the_order_of_images(pairs, seed):
    scores, right = (np.array(column) for column in zip(*pairs, strict=True))
    order = np.random.default_rng(seed).permutation(len(scores))
    first = calibration.ece(right, scores, calibration.bin_numbers(scores))
    second = calibration.ece(right[order], scores[order], calibration.bin_numbers(scores[order]))
    assert first == pytest.approx(second, abs=1e-12)


@given(pairs=SCORES)
def test_equal_scores_share_a_bin_and_bins_rise_with_the_score(pairs):
    scores = np.array([score for score, _ in pairs])
    numbers = calibration.bin_numbers(scores)
    assert set(numbers) == set(range(numbers.max() + 1))
    assert numbers.max() < calibration.BINS
    order = np.argsort(scores)
    assert (np.diff(numbers[order]) >= 0).all()
    assert all(len(set(numbers[scores == score])) == 1 for score in scores)


@given(
    rows=st.lists(
        st.tuples(st.sampled_from("abc"), st.lists(st.floats(0.01, 1), min_size=3, max_size=3)), min_size=1, max_size=30
    )
)
def test_brier_is_the_squared_distance_from_the_truth(rows):
    scores = np.array([row for _, row in rows])
    scores /= scores.sum(1, keepdims=True)
    labels = [label for label, _ in rows]
    expected = np.mean([((row - np.eye(3)["abc".index(label)]) ** 2).sum() for label, row in zip(labels, scores)])  # noqa: B905
    table = pd.DataFrame({"label": labels, "scores": list(scores)})
    assert calibration.brier(table, list("abc")) == pytest.approx(expected)


def test_the_verdict_tells_honest_scores_from_boasting_and_modest_ones():
    assert calibration.verdict(simulated(2000)).startswith("Scores agree")
    assert calibration.verdict(simulated(2000, honest=0.4)).startswith("The model is overconfident")
    assert calibration.verdict(simulated(2000, honest=4.0)).startswith("The model is underconfident")
