"""What a network sees of a colour: all three channels, or their grey alone; one rule for training and serving.

Pictures come from the decoder as RGB.  Grey is made after resizing, by Pillow's rule for its mode ``L``, in whole
numbers: (19595 R + 38470 G + 7471 B + 32768) / 65536, rounded down (the luma of ITU-R BT.601).  The grey of a
grey picture is itself, so a picture may pass the rule twice.
"""

from __future__ import annotations

import numpy as np
from PIL import Image

from fastrec.files import FastrecError

COUNTS = {"rgb": 3, "grey": 1}  # channels by the name of the choice
WEIGHTS, HALF, WHOLE = (19595, 38470, 7471), 32768, 65536


def count(colour: str) -> int:
    """Return how many channels a choice of colour has.

    Raises
    ------
    FastrecError
        If it is none of `COUNTS`.
    """
    if colour not in COUNTS:
        raise FastrecError(f"colour is {colour!r}: take one of {', '.join(COUNTS)}.")
    return COUNTS[colour]


def reduced(pixels: np.ndarray, channels: int) -> np.ndarray:
    """Turn a picture, uint8 (height, width, 3), into (height, width, channels)."""
    if channels == pixels.shape[-1]:
        return pixels
    return np.asarray(Image.fromarray(np.ascontiguousarray(pixels)).convert("L"))[..., None]


def expanded(pixels: np.ndarray) -> np.ndarray:
    """Show pictures (…, height, width, channels) as RGB; grey ones in three equal channels, without a copy."""
    return np.broadcast_to(pixels, (*pixels.shape[:-1], 3))
