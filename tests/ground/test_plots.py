"""Figures show labels as they are, whatever is in them, and one bar or tick for each of them."""

from __future__ import annotations

import io

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib import cbook
from matplotlib.figure import Figure

from fastrec import plots

HOSTILE = [
    "$a$ $b$",
    r"\$x$",
    "a\0b",
    "\x07",
    "\udcff",
    "x" * 40,
    "",
    "<img src=x>",
    "a_{b}^2",
    "two\nlines",
    "\u202eabc",
]


def draw(figure: Figure) -> bytes:
    """Draw a figure as a notebook would: what it cannot draw, it fails on here."""
    stream = io.BytesIO()
    figure.savefig(stream, format="png")
    return stream.getvalue()


letters = st.one_of(st.sampled_from("$$$\\{}_^a \n\0\udcff"), st.characters(codec=None))


@given(st.text(letters, max_size=40), st.integers(5, 30))
def test_plain_text_is_short_printable_and_no_mathematics(text, longest):
    shown = plots.plain(text, longest)
    assert shown
    assert shown.isprintable()
    assert len(shown.replace(r"\$", "$")) <= max(longest, len("(blank)"))
    assert not cbook.is_math_text(shown)


@pytest.mark.parametrize("label", HOSTILE)
def test_a_hostile_label_is_no_mathematics(label):
    assert not cbook.is_math_text(plots.plain(label))


def test_plain_text_leaves_ordinary_labels_alone():
    assert plots.plain("Golden retriever (№ 7)") == "Golden retriever (№ 7)"
    assert plots.plain("abcdefgh", 5) == "abcd…"
    assert plots.plain(3) == "3"


def counts() -> pd.DataFrame:
    return pd.DataFrame({"train": range(1, len(HOSTILE) + 1), "valid": 1}, index=pd.Index(HOSTILE, dtype=object))


FIGURES = {
    "class_counts": lambda: plots.class_counts(counts()),
    "confusion": lambda: plots.confusion(np.eye(len(HOSTILE), dtype=int) * 5, HOSTILE),
    "image_grid": lambda: plots.image_grid(np.zeros((len(HOSTILE), 8, 8, 3), np.uint8), HOSTILE),
    "histograms": lambda: plots.histograms(pd.DataFrame({"$a$": [1.0, np.nan], "b": [np.nan, np.nan]}), ["$a$", "b"]),
    "no_images": lambda: plots.image_grid([]),
    "no_classes": lambda: plots.class_counts(counts().iloc[:0]),
}


@pytest.mark.parametrize("name", FIGURES)
def test_hostile_labels_and_empty_tables_are_drawn(name):
    assert draw(FIGURES[name]()).startswith(b"\x89PNG")


def test_classes_whose_cut_names_are_equal_keep_their_own_bars():
    table = pd.DataFrame({"train": [1, 2, 3]}, index=["x" * 40 + "1", "x" * 40 + "2", "y"])
    axis = plots.class_counts(table).axes[0]
    assert len(axis.get_yticks()) == 3
    assert sorted({round(bar.get_y(), 3) for bar in axis.patches}) == sorted({round(k - 0.4, 3) for k in range(3)})


def test_bars_of_a_class_stand_one_after_the_other():
    table = pd.DataFrame({"train": [3, 5], "valid": [1, 2]}, index=["a", "b"])
    bars = plots.class_counts(table).axes[0].patches
    assert [(bar.get_x(), bar.get_width()) for bar in bars] == [(0, 3), (0, 5), (3, 1), (5, 2)]


def test_more_classes_than_fit_are_counted_in_the_axis_label():
    table = pd.DataFrame({"train": range(50)}, index=[f"class {k}" for k in range(50)])
    assert plots.class_counts(table).axes[0].get_xlabel() == "images (first 40 of 50 classes)"


def test_a_confusion_matrix_of_several_labels_says_what_it_counts():
    (axis,) = plots.confusion([[3, 2], [0, 1]], ["a", "b"], support=[4, 2]).axes
    assert axis.get_ylabel() == "pictures with this label"
    assert np.allclose(axis.images[0].get_array(), [[0.75, 0.5], [0, 0.5]])


def test_a_confusion_matrix_writes_every_count_and_survives_an_empty_row():
    axis = plots.confusion([[5, 2], [0, 0]], ["a", "b"]).axes[0]
    assert sorted(text.get_text() for text in axis.texts) == ["2", "5"]
    assert axis.images[0].get_array().tolist() == [[5 / 7, 2 / 7], [0, 0]]


def test_history_draws_train_beside_valid():
    columns = ["epoch", "train_loss", "valid_loss", "train_accuracy", "valid_accuracy", "lr"]
    figure = plots.history(
        pd.DataFrame([[0, 1.0, 1.1, 0.5, 0.4, 1e-3], [1, 0.8, 0.9, 0.6, 0.5, 1e-4]], columns=columns)
    )
    assert [len(axis.lines) for axis in figure.axes] == [2, 2, 1]
    draw(figure)


def test_a_figure_is_closed_so_that_a_cell_shows_it_once_also_after_an_error():
    from matplotlib import pyplot

    plots.class_counts(counts())
    with pytest.raises(KeyError):
        plots.histograms(counts(), ["missing"])
    assert pyplot.get_fignums() == []


def test_a_picture_as_png_is_the_same_picture():
    from PIL import Image

    pixels = np.random.default_rng(0).integers(0, 256, (5, 7, 3), np.uint8)
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(plots.png(pixels)))), pixels)
