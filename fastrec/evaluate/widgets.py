"""Look at mistakes one by one in the notebook; executed without a reader, the same call leaves a figure."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from fastrec import channels, images, labels, plots
from fastrec.artefacts import CACHE, IMAGES, SPLITS
from fastrec.collect.controls import live
from fastrec.evaluate import errors
from fastrec.run import Run

if TYPE_CHECKING:
    from ipywidgets import Widget
    from matplotlib.figure import Figure

ANY = "(any class)"
SIDES = ("label", "predicted")


def pictures(run: Run, predictions: pd.DataFrame) -> list[np.ndarray]:
    """Return the cached picture of each prediction, uint8 (size, size, 3)."""
    row = run.read(SPLITS).set_index("image_id")["row"]
    cached = run.read(IMAGES)
    return [channels.expanded(cached[row[image_id]]) for image_id in predictions["image_id"]]


def grid(run: Run, predictions: pd.DataFrame, most: int = 24) -> Figure:
    """Draw the first predictions of a table, each titled ``label → predicted score``; wrong ones in red.

    With several labels the title is the score, what the answer lacks (``−``) and what it wrongly adds (``+``).
    """
    shown, title = predictions.head(most), _changes if run.read(CACHE).multi_label else _change
    answers = zip(shown["label"], shown["predicted"], shown["score"], strict=True)
    titles = [title(label, predicted, score) for label, predicted, score in answers]
    wrong = shown["label"] != shown["predicted"]
    return plots.image_grid(pictures(run, shown), titles, 6, [plots.RED if bad else plots.GREEN for bad in wrong])


def _change(label: str, predicted: str, score: float) -> str:
    return f"{_short(label)}→{_short(predicted)} {score:.2f}"


def _changes(label: str, predicted: str, score: float) -> str:
    given, told = set(labels.split(label)), set(labels.split(predicted))
    parts = [f"−{_short(name)}" for name in sorted(given - told)] + [
        f"+{_short(name)}" for name in sorted(told - given)
    ]
    return f"{score:.2f} {' '.join(parts) or ' '.join(_short(name) for name in sorted(given)) or labels.NONE}"


def _short(name: str) -> str:
    return name if len(name) <= 6 else name[:5] + "…"


def browse(run: Run, predictions: pd.DataFrame, most: int = 24) -> Widget | Figure:
    """Show the mistakes, the surest first: one at a time to a reader, else as the figure of :func:`grid`."""
    table = errors.mistakes(predictions)
    return _browser(run, table) if live() else grid(run, table, most)


def _browser(run: Run, table: pd.DataFrame) -> Widget:
    """Show one prediction at a time with a filter by label, one by prediction, and a slider."""
    import ipywidgets as w

    picture, note = w.Image(format="png", width=256), w.HTML()
    multi_label = run.read(CACHE).multi_label
    told = labels.told if multi_label else str
    held = {name: table[name].map(lambda text: labels.each(text, multi_label) or [labels.NONE]) for name in SIDES}
    label, predicted = (
        w.Dropdown(options=[ANY, *sorted({one for names in held[column] for one in names})], description=column)
        for column in SIDES
    )
    position = w.IntSlider(min=0, max=0, description="mistake")

    def chosen() -> pd.DataFrame:
        keep = pd.Series(True, table.index)
        for box in (label, predicted):
            keep &= held[box.description].map(lambda names, wanted=box.value: wanted == ANY or wanted in names)
        return table[keep]

    def show(_: object = None) -> None:
        found = chosen()
        position.max = max(0, len(found) - 1)
        if found.empty:
            picture.value, note.value = b"", "No mistake of this kind."
            return
        row = found.iloc[position.value]
        picture.value = plots.png(images.resize(pictures(run, found.iloc[[position.value]])[0], 256))
        names = f"{told(row['label'])} is taken for {told(row['predicted'])}"
        note.value = escape(
            f"{names} with a score of {row['score']:.3f}: {row['path']} ({position.value + 1} of {len(found)})"
        )

    for box in (label, predicted, position):
        box.observe(show, "value")
    show()
    return w.VBox([w.HBox([label, predicted]), position, note, picture])
