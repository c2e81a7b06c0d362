"""What training did, epoch by epoch, as the table HISTORY and in one sentence."""

from __future__ import annotations

import time

import pandas as pd
from fastai.callback.core import Callback

from fastrec.artefacts import HISTORY

_OURS = {
    "train_loss": "train_loss",
    "train_accuracy": "train_accuracy",
    "valid_loss": "valid_loss",
    "valid_accuracy": "valid_accuracy",
    "valid_f1_score": "valid_macro_f1",
}


class History(Callback):
    """Keep one row per epoch: called before each epoch for the clock, after it for the figures."""

    order = 60  # after fastai's Recorder (50), whose figures it reads
    resumable = ("rows",)  # what a checkpoint keeps

    def __init__(self) -> None:
        self.rows: list[dict[str, float]] = []

    def before_epoch(self) -> None:
        """Start the epoch's clock."""
        self.began = time.perf_counter()

    def after_epoch(self) -> None:
        """Add the epoch's row; a bare validation and the learning-rate finder's mock epochs are none."""
        found = dict(zip(self.recorder.metric_names[1:], self.recorder.final_record, strict=False))
        if hasattr(self.learn, "lr_finder") or not set(_OURS) <= set(found):
            return
        row = {ours: float(found[theirs]) for theirs, ours in _OURS.items()}
        spent = time.perf_counter() - self.began
        self.rows.append({"epoch": len(self.rows), **row, "lr": self.opt.hypers[-1]["lr"], "seconds": spent})

    def table(self) -> pd.DataFrame:
        """Return HISTORY."""
        return pd.DataFrame(self.rows, columns=HISTORY.schema.names)


def verdict(history: pd.DataFrame) -> str:
    """Say in words whether the training over- or underfitted, from train and valid side by side."""
    last, best = history.iloc[-1], history["valid_loss"].min()
    gap = last["train_accuracy"] - last["valid_accuracy"]
    figures = f"train accuracy {last['train_accuracy']:.3f}, valid {last['valid_accuracy']:.3f}"
    if last["valid_loss"] > 1.1 * best and gap > 0.02:
        return f"Overfitting: the valid loss rose after its best epoch ({figures}); train shorter or augment more."
    if gap > 0.05:
        return f"Some overfitting ({figures}): more images, augmentation or weight decay would help."
    if len(history) > 1 and history["valid_loss"].iloc[-1] < 0.9 * history["valid_loss"].iloc[-2]:
        return f"Still learning ({figures}): more epochs would help."
    return f"Well balanced ({figures})."
