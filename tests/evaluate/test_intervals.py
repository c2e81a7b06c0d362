import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastrec.evaluate import intervals
from fastrec.files import FastrecError

FIGURES = st.floats(-1e6, 1e6)


def test_resampling_a_mean_gives_its_textbook_interval():
    values = np.random.default_rng(0).normal(5, 2, 400)
    draws = intervals.resample(lambda drawn: {"mean": values[drawn].mean()}, 400, 1000, seed=0)["mean"]
    found = intervals.percentile(values.mean(), draws)
    half = 1.96 * values.std() / 20
    assert found.low == pytest.approx(values.mean() - half, abs=half / 8)
    assert found.high == pytest.approx(values.mean() + half, abs=half / 8)
    assert found.note is None


def test_the_same_seed_draws_the_same_images_and_another_does_not():
    def draw(seed):
        return intervals.resample(lambda drawn: {"sum": float(drawn.sum())}, 50, 100, seed)["sum"]

    assert np.array_equal(draw(3), draw(3))
    assert not np.array_equal(draw(3), draw(4))


def test_too_few_resamples_are_refused():
    with pytest.raises(FastrecError, match="bootstrap is 99: take 100 or more"):
        intervals.resample(lambda drawn: {}, 10, 99, seed=0)


@given(value=FIGURES, draws=st.lists(FIGURES | st.just(float("nan")), min_size=100, max_size=200))
def test_an_interval_always_holds_its_value(value, draws):
    found = intervals.percentile(value, np.array(draws))
    assert found.value == value
    if found.low is not None:
        assert found.low <= value <= found.high
        inside = [draw for draw in draws if found.low <= draw <= found.high]
        assert len(inside) >= 0.9 * np.isfinite(draws).sum()
    else:
        assert found.note.startswith("no interval")


def test_the_note_says_where_resampling_falls_short():
    spread = np.linspace(0, 1, 200)
    assert "same value" in intervals.percentile(1.0, np.ones(200)).note
    assert "most resamples" in intervals.percentile(1.0, np.where(spread < 0.8, np.nan, spread)).note
    assert "10% of the resamples" in intervals.percentile(0.5, np.where(spread < 0.1, np.nan, spread)).note
    for value in (-1.0, 2.0):
        found = intervals.percentile(value, spread)
        assert found.low <= value <= found.high
        assert "widened" in found.note


@given(n=st.integers(1, 500), data=st.data())
def test_a_proportion_has_wilsons_interval(n, data):
    right = data.draw(st.integers(0, n))
    found, z, p = intervals.proportion(right, n), 1.959963984540054, right / n
    middle, half = p + z * z / (2 * n), z * np.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    scale = 1 + z * z / n
    assert found.low == pytest.approx((middle - half) / scale, abs=1e-9)
    assert found.high == pytest.approx((middle + half) / scale, abs=1e-9)


def test_a_proportion_of_nothing_is_null_and_of_all_keeps_a_width():
    assert intervals.proportion(0, 0).value is None
    assert intervals.proportion(300, 300, "exact").low == pytest.approx(0.025 ** (1 / 300))
