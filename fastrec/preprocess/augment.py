"""Augmentation by the batch: fastai's own transforms under one dial."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.figure import Figure

from fastrec import plots
from fastrec.files import FastrecError

LEVELS = ("none", "light", "medium", "strong")
_STRENGTH = {  # degrees, zoom, lighting, warp
    "light": (5.0, 1.05, 0.1, 0.0),
    "medium": (10.0, 1.1, 0.2, 0.1),
    "strong": (20.0, 1.25, 0.4, 0.2),
}


def batch_transforms(level: str, flip: bool) -> list[Any]:
    """Return fastai batch transforms (rotation, zoom, lighting, warp, flip) of the given strength.

    Parameters
    ----------
    level
        ``none``, ``light``, ``medium`` or ``strong``.
    flip
        Mirror half of the pictures left to right; wrong for digits and letters.

    Raises
    ------
    FastrecError
        If the level is unknown.
    """
    from fastai.vision.augment import Flip, PadMode, aug_transforms

    if level not in LEVELS:
        raise FastrecError(f"augment is {level!r}: take one of {', '.join(LEVELS)}.")
    if level == "none":
        return [Flip(p=0.5)] if flip else []
    degrees, zoom, lighting, warp = _STRENGTH[level]
    return aug_transforms(
        do_flip=flip, max_rotate=degrees, max_zoom=zoom, max_lighting=lighting, max_warp=warp, pad_mode=PadMode.Border
    )


def preview(pictures: np.ndarray, level: str, flip: bool, variants: int = 7, seed: int = 0) -> Figure:
    """Draw each picture (n, h, w, 3) in a row of its own: as it is, then as training would see it."""
    import torch
    from fastai.vision.core import TensorImage

    torch.manual_seed(seed)
    transforms = batch_transforms(level, flip)
    shown, titles = [], []
    for picture in pictures:
        batch = TensorImage(torch.from_numpy(np.stack([picture] * variants)).permute(0, 3, 1, 2).float() / 255)
        for transform in transforms:
            batch = transform(batch, split_idx=0)
        changed = (batch.clamp(0, 1) * 255).byte().permute(0, 2, 3, 1).numpy()
        shown += [picture, *changed]
        titles += ["original", *[""] * variants]
    return plots.image_grid(shown, titles, variants + 1)
