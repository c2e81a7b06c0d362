"""Look at the pictures of each class, and label them by hand in the notebook."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from html import escape
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from fastrec import images, plots
from fastrec.collect import controls, decisions
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


def label(run: Run, manifest: pd.DataFrame) -> Widget | pd.DataFrame | str:
    """Show one picture at a time to be labelled, kept or dropped; without a reader, count the decisions made.

    Every answer is written at once to the run's decisions, which the next run of collect applies;
    called again, the widget goes on with the first picture that has none.  Keys work while the text box
    has the focus: see `fastrec.collect.controls`.
    """
    return _Labeller(run, manifest).panel if controls.live() else decisions.summary(run)


class _Labeller:
    """One picture, the ways to answer, and the way back."""

    def __init__(self, run: Run, manifest: pd.DataFrame) -> None:
        import ipywidgets as w

        self.run, self.manifest = run, manifest.reset_index(drop=True)
        self.row: pd.Series | None = None
        self.chooser = controls.Chooser(manifest["labels"], lambda names: self.decide("relabel", names))
        self.picture, self.note = w.Image(format="png"), w.HTML()
        self.progress = w.IntProgress(max=len(manifest), layout=w.Layout(width="160px"))
        self.keys = controls.key_box(self.press)
        self.commands: dict[str, Callable[[], None]] = {
            "k": lambda: self.decide("keep"),
            "d": lambda: self.decide("drop"),
            "u": self.undo,
        }
        others = [
            controls.button("keep (k)", self.commands["k"], "success", "the label is right"),
            controls.button("drop (d)", self.commands["d"], "danger", "leave the picture out of every later stage"),
            controls.button("undo (u)", self.undo, "warning", "take the last decision back"),
        ]
        told = w.HTML(controls.help_text(self.chooser))
        row = w.Layout(align_items="center")
        self.panel = w.VBox(
            [
                w.HBox([self.progress, self.note], layout=row),
                controls.frame(self.picture),
                w.HBox(others),
                self.chooser.widget,
                w.HBox([self.keys, told], layout=row),
            ]
        )
        self.advance()

    def press(self, key: str) -> None:
        """Act on a key."""
        self.commands.get(key, lambda: self.chooser.press(key))()

    def decide(self, action: decisions.Action, labels: Sequence[str] = ()) -> None:
        """Write down the answer, and show the next picture."""
        if self.row is not None:
            decisions.decide(self.run, self.row["image_id"], action, labels)
            self.advance()

    def undo(self) -> None:
        """Take the last decision back, and show its picture again."""
        self.advance(decisions.undo(self.run))

    def advance(self, first: list[str] | None = None) -> None:
        """Show the picture in ``first``, or else the first one without a decision."""
        open_ = self.manifest[~self.manifest["image_id"].isin(decisions.latest(self.run)["image_id"])]
        self.progress.value = len(self.manifest) - len(open_)
        back = open_[open_["image_id"].isin(first or [])]
        self.row = None if open_.empty else (open_ if back.empty else back).iloc[0]
        self.keys.focus()
        if self.row is None:
            self.picture.value = b""
            self.note.value = "Every picture has a decision: run this notebook again to apply them."
            return
        fault = controls.show(self.run, self.row["path"], self.row["box"], self.picture)
        self.chooser.show(list(self.row["labels"]))
        given = f"{self.row['path']}: {', '.join(self.row['labels'])} ({len(open_):,} to go)"
        self.note.value = escape(" ".join(filter(None, [given, fault])))
