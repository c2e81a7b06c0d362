"""Weights against classes of unequal size: in the loss, or in how often a picture is drawn."""

from __future__ import annotations

import numpy as np
import torch
from sklearn.utils.class_weight import compute_class_weight, compute_sample_weight

from fastrec.files import FastrecError

WAYS = ("none", "weights", "sampling")


def chances(way: str, targets: torch.Tensor) -> list[float] | None:
    """Return the weight with which each train picture is drawn, or None where each is shown once an epoch.

    It is inverse to the frequency of the picture's class; with several labels, of its rarest one, and pictures
    without any are a class of their own.

    Parameters
    ----------
    way
        One of `WAYS`; all but ``sampling`` give None.
    targets
        Of the train pictures: class numbers (n,) or indicators (n, classes).

    Raises
    ------
    FastrecError
        If the way is unknown.
    """
    if way not in WAYS:
        raise FastrecError(f"balance is {way!r}: take one of {', '.join(WAYS)}.")
    if way != "sampling":
        return None
    known = targets.numpy()
    if known.ndim == 1:
        return compute_sample_weight("balanced", known).tolist()
    held = np.column_stack([known > 0, ~(known > 0).any(1)])
    return (held * (len(held) / held.sum(0).clip(1))).max(1).tolist()


def class_weights(targets: torch.Tensor, classes: int) -> torch.Tensor:
    """Return how much a picture of each class counts, (classes,): inverse to its frequency, 1 in the mean of pictures.

    With indicators (n, classes) it is the ``pos_weight`` of each class: how many pictures lack it for one that has it.
    A class without train pictures, or with nothing else, keeps 1.
    """
    known = targets.numpy()
    if known.ndim == 2:
        there = (known > 0).sum(0)
        lacking = len(known) - there
        return torch.from_numpy(np.where(there * lacking > 0, lacking / there.clip(1), 1.0)).float()
    made, present = torch.ones(classes), np.unique(known)
    made[present] = torch.from_numpy(compute_class_weight("balanced", classes=present, y=known)).float()
    return made
