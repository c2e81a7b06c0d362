"""The figures of evaluation and monitoring: of usual tables, and of empty ones."""

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from fastrec import plots
from fastrec.monitor import drift

from .conftest import reference

NAMES = ["$5 and $6", "<b>", "дом", "a" * 60]


def drawn(figure):
    """Draw a figure as a notebook does, and return the texts on its axes."""
    assert isinstance(figure, Figure)
    figure.canvas.draw()
    return [text.get_text() for axis in figure.axes for text in [*axis.get_yticklabels(), *axis.get_xticklabels()]]


def test_intervals_show_every_name_and_leave_undefined_ones_empty():
    table = pd.DataFrame(
        {"recall": [0.5, None, 1.0, 0.9], "recall_low": [0.4, None, None, 0.8], "recall_high": [0.6, None, None, 0.95]},
        index=NAMES,
    )
    figure = plots.intervals(table, "recall")
    texts = drawn(figure)
    assert r"\$5 and \$6" in texts
    assert any(text.endswith("…") for text in texts)
    assert figure.axes[0].get_xlabel() == "recall, with its 95 % interval"


def test_intervals_of_many_names_say_how_many_are_left_out():
    table = pd.DataFrame({"f1": 0.5, "f1_low": 0.4, "f1_high": 0.6}, index=[f"class {k}" for k in range(55)])
    assert plots.intervals(table, "f1").axes[0].get_xlabel().endswith("(first 40 of 55)")


@pytest.mark.parametrize("rows", [0, 30, 200])
def test_drift_and_shifts_are_drawn_for_any_amount_of_traffic(rows):
    old, new = reference(360), reference(rows, seed=1)
    assert "brightness" in drawn(plots.drift(drift.table(drift.measure(old, new, "sha"))))
    drawn(plots.shifts(old, new, ["brightness", "height", "score"]))


def test_the_bar_of_a_drifted_check_is_red_and_of_an_unjudged_one_absent():
    live = reference(200, seed=1)
    live["brightness"] *= 0.5
    table = drift.table(drift.measure(reference(360), live, "sha"))
    bars = plots.drift(table).axes[0].patches
    colour = {name: bar.get_facecolor() for name, bar in zip(table.index, bars, strict=True)}
    assert colour["brightness"] != colour["contrast"]
    assert bars[list(table.index).index("saturation")].get_width() == 0


@pytest.mark.parametrize("days", [0, 1, 40])
def test_traffic_is_drawn_for_any_number_of_days(days):
    index = pd.date_range("2026-01-01", periods=days).strftime("%Y-%m-%d")
    counts = pd.DataFrame({"answered": np.arange(days), "refused": 1}, index=index)
    heights = [bar.get_height() for bar in plots.traffic(counts).axes[0].patches]
    assert sum(heights) == counts.to_numpy().sum()
    drawn(plots.traffic(counts))


def test_reliability_keeps_every_bin_in_sight():
    table = pd.DataFrame({"score": [0.3, 0.99], "accuracy": [0.1, 1.0]})
    axis = plots.reliability(table).axes[0]
    assert axis.get_xlim()[0] <= 0.1
    assert axis.get_ylim()[1] > 1
