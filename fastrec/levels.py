"""What the levels of a picture tell of its light, focus and colour: in training, serving and monitoring alike.

Needs NumPy only, as `fastrec.images` does.
"""

from __future__ import annotations

import numpy as np

LUMA = np.array([0.299, 0.587, 0.114], np.float32)  # ITU-R BT.601


def statistics(pixels: np.ndarray) -> dict[str, np.ndarray]:
    """Measure what drifts when a camera, a lamp or a crop changes.

    Parameters
    ----------
    pixels
        uint8, (n, height, width, 3): resized pictures, so that live and reference ones compare.

    Returns
    -------
    Per name an array (n,): ``brightness`` (mean luma after ITU-R BT.601, 0 to 1), ``contrast`` (its deviation),
    ``sharpness`` (mean absolute step between neighbours), ``saturation`` (mean of max minus min channel).
    """
    parts = [_measure(pixels[start : start + 256]) for start in range(0, max(1, len(pixels)), 256)]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _measure(pixels: np.ndarray) -> dict[str, np.ndarray]:
    planes = np.ascontiguousarray(pixels.transpose(3, 0, 1, 2))  # by channel: many times faster to add up
    luma, green, blue = planes * (LUMA / np.float32(255))[:, None, None, None]
    luma += green
    luma += blue
    brightness = _mean(luma)
    steps = [_mean(np.abs(luma[:, 1:] - luma[:, :-1])), _mean(np.abs(luma[:, :, 1:] - luma[:, :, :-1]))]
    luma -= brightness[:, None, None]
    luma *= luma
    red, green, blue = planes
    spread = np.maximum(np.maximum(red, green), blue)
    spread -= np.minimum(np.minimum(red, green), blue)
    return {
        "brightness": brightness,
        "contrast": np.sqrt(_mean(luma)),
        "sharpness": (steps[0] + steps[1]) / 2,
        "saturation": _mean(spread) / np.float32(255),
    }


def _mean(values: np.ndarray) -> np.ndarray:
    """Average each picture; NumPy's own ``mean`` and ``std`` spend more on their arguments than on one picture."""
    return np.add.reduce(values, axis=(1, 2), dtype=np.float32) / np.float32(values[:1].size)
