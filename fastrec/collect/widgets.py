"""Label pictures by hand in the notebook; executed without a reader, the same call leaves a figure."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from fastrec import images, plots
from fastrec.collect import decisions
from fastrec.run import Run

if TYPE_CHECKING:
    from ipywidgets import Widget
    from matplotlib.figure import Figure


def class_grid(run: Run, manifest: pd.DataFrame, per_class: int = 6, size: int = 64) -> Figure:
    """Draw the first pictures of each class by content hash: the same ones on every machine."""
    chosen = manifest.assign(label=manifest["labels"].str.join(" + ")).sort_values(["label", "image_id"])
    chosen = chosen[chosen["label"].isin(sorted(set(chosen["label"]))[:16])].groupby("label").head(per_class)
    pictures = [thumbnail(run, row, size) for _, row in chosen.iterrows()]
    return plots.image_grid(pictures, list(chosen["label"]), 2 * per_class)


def thumbnail(run: Run, row: pd.Series, size: int) -> np.ndarray:
    """Return the picture behind a manifest's row, cut to a square of at most ``size`` pixels a side."""
    pixels = images.crop(images.decode(images.read_bytes(run.locate(row["path"]))).pixels, row["box"])
    return images.resize(pixels, min(size, *pixels.shape[:2]), "crop")


def label(run: Run, manifest: pd.DataFrame) -> Widget:
    """Show one picture at a time with a button per class, *drop*, *keep* and *undo*.

    Each click is written at once to the run's decisions; called again, the widget goes on with the
    first picture that has none.  The next run of collect applies them.
    """
    import ipywidgets as w

    classes = sorted({name for labels in manifest["labels"] for name in labels})
    picture, note = w.Image(format="png", width=256), w.HTML()
    todo: list[int] = []

    def show() -> None:
        done = set(decisions.read(run)["image_id"])
        todo[:] = [k for k, image_id in enumerate(manifest["image_id"]) if image_id not in done]
        if not todo:
            note.value = "Every picture has a decision: run this notebook again to apply them."
            return
        row = manifest.iloc[todo[0]]
        picture.value = plots.png(thumbnail(run, row, 256))
        note.value = escape(f"{row['path']}: {', '.join(row['labels'])} ({len(todo)} to go)")

    def choose(action: decisions.Action, labels: tuple[str, ...] = ()) -> None:
        if todo:
            decisions.decide(run, manifest.iloc[todo[0]]["image_id"], action, labels)
            show()

    def take_back() -> None:
        decisions.undo(run)
        show()

    def button(text: str, style: str, click: object) -> Widget:
        made = w.Button(description=text, button_style=style, tooltip=text)
        made.on_click(click)
        return made

    by_class = [button(name, "", lambda _, name=name: choose("relabel", (name,))) for name in classes]
    others = [
        button("keep", "success", lambda _: choose("keep")),
        button("drop", "danger", lambda _: choose("drop")),
        button("undo", "warning", lambda _: take_back()),
    ]
    show()
    return w.VBox([note, picture, w.HBox(others), w.Box(by_class, layout=w.Layout(flex_flow="row wrap"))])
