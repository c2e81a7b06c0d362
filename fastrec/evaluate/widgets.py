"""Look at mistakes one by one in the notebook; executed without a reader, the same call leaves a figure."""

from __future__ import annotations

import os
from html import escape
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from fastrec import images, plots
from fastrec.artefacts import IMAGES, SPLITS
from fastrec.evaluate import errors
from fastrec.run import Run

if TYPE_CHECKING:
    from ipywidgets import Widget
    from matplotlib.figure import Figure

ANY = "(any class)"


def live() -> bool:
    """Say whether a person sits at the notebook: its kernel was started by Jupyter or VS Code, not by a program."""
    return bool({"JPY_SESSION_NAME", "VSCODE_PID"} & set(os.environ))


def pictures(run: Run, predictions: pd.DataFrame) -> list[np.ndarray]:
    """Return the cached picture of each prediction, uint8 (size, size, 3)."""
    row = run.read(SPLITS).set_index("image_id")["row"]
    cached = run.read(IMAGES)
    return [np.asarray(cached[row[image_id]]) for image_id in predictions["image_id"]]


def grid(run: Run, predictions: pd.DataFrame, most: int = 24) -> Figure:
    """Draw the first predictions of a table, each titled ``label → predicted score``; wrong ones in red."""
    shown = predictions.head(most)
    answers = zip(shown["label"], shown["predicted"], shown["score"], strict=True)
    titles = [f"{_short(label)}→{_short(predicted)} {score:.2f}" for label, predicted, score in answers]
    wrong = shown["label"] != shown["predicted"]
    return plots.image_grid(pictures(run, shown), titles, 6, [plots.RED if bad else plots.GREEN for bad in wrong])


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
    label, predicted = (
        w.Dropdown(options=[ANY, *sorted(table[column].unique())], description=column)
        for column in ("label", "predicted")
    )
    position = w.IntSlider(min=0, max=0, description="mistake")

    def chosen() -> pd.DataFrame:
        keep = pd.Series(True, table.index)
        for box in (label, predicted):
            keep &= (table[box.description] == box.value) | (box.value == ANY)
        return table[keep]

    def show(_: object = None) -> None:
        found = chosen()
        position.max = max(0, len(found) - 1)
        if found.empty:
            picture.value, note.value = b"", "No mistake of this kind."
            return
        row = found.iloc[position.value]
        picture.value = plots.png(images.resize(pictures(run, found.iloc[[position.value]])[0], 256))
        told = f"{row['label']} is taken for {row['predicted']} with a score of {row['score']:.3f}: {row['path']}"
        note.value = escape(f"{told} ({position.value + 1} of {len(found)})")

    for box in (label, predicted, position):
        box.observe(show, "value")
    show()
    return w.VBox([w.HBox([label, predicted]), position, note, picture])
