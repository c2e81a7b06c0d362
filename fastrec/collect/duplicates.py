"""Near copies: hashes propose pairs of pictures, their pixels confirm or refuse."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

SIDE = 16  # of the thumbnails, in pixels
BANDS = 8  # of 16 bits; two pictures meet if one band is equal
WINDOW = 32  # neighbours of a picture in a band that are compared
RELATIVE, ABSOLUTE = 0.2, 14.0  # largest root mean square difference: over the contrast, and in levels of 255
CHUNK = 512  # pictures or pairs compared at once
FLAT = 4.0  # contrast below which only nearly equal levels prove anything


def pairs(image_ids: Sequence[str], thumbnails: np.ndarray) -> pd.DataFrame:
    """Find the pairs of near copies: resized, re-encoded or slightly edited versions of one picture.

    Difference hashes (Krawetz 2013, hackerfactor.com) along rows and columns propose pairs; equal
    hashes alone prove nothing for small pictures, so the thumbnails decide.  The cost per picture does
    not grow with their number.

    Parameters
    ----------
    image_ids
        n names.
    thumbnails
        uint8, (n, 16, 16, 3), squished to a square.

    Returns
    -------
    One row per pair: ``image_id`` and ``other_id`` in alphabetical order, and ``value``, the root mean
    square difference in levels of 255.
    """
    if len(thumbnails) < 2:
        return pd.DataFrame({"image_id": [], "other_id": [], "value": []}).astype({"value": float})
    traits = _Traits.of(thumbnails)
    found = [_confirmed(thumbnails, traits, left, right) for left, right in _proposed(traits)]
    left, right, value = (np.concatenate(parts) for parts in zip(*found, strict=True))
    names = np.asarray(image_ids, dtype=object)
    table = pd.DataFrame({"image_id": names[left], "other_id": names[right], "value": value})
    swapped = table["image_id"] > table["other_id"]
    table.loc[swapped, ["image_id", "other_id"]] = table.loc[swapped, ["other_id", "image_id"]].to_numpy()
    return table.drop_duplicates(["image_id", "other_id"]).sort_values(["image_id", "other_id"], ignore_index=True)


@dataclass(frozen=True)
class _Traits:
    """What is compared before any pixels are: arrays over the pictures."""

    bands: np.ndarray  # uint16, (n, 8): parts of the difference hash
    bright: np.ndarray  # mean luma
    mean: np.ndarray  # of all levels
    contrast: np.ndarray  # their deviation

    @classmethod
    def of(cls, thumbnails: np.ndarray) -> _Traits:
        """Measure thumbnails, some at a time: as floats, all of them would take eight times their memory."""
        parts = [_measured(thumbnails[start : start + CHUNK]) for start in range(0, len(thumbnails), CHUNK)]
        return cls(*(np.concatenate(columns) for columns in zip(*parts, strict=True)))


def _measured(thumbnails: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    levels = thumbnails.astype(np.float32)
    luma = levels @ np.array([0.299, 0.587, 0.114], np.float32)
    flat = levels.reshape(len(levels), -1)
    return np.stack(list(_bands(luma)), axis=1), luma.mean((1, 2)), flat.mean(1), flat.std(1)


def _bands(luma: np.ndarray) -> Iterator[np.ndarray]:
    for turned in (luma, luma.transpose(0, 2, 1)):
        rows = turned.reshape(len(luma), SIDE // 2, 2, SIDE).mean(2)
        bits = rows[:, :, ::2] < rows[:, :, 1::2]  # (n, 8, 8)
        packed = np.packbits(bits.reshape(len(luma), -1), axis=1).view(np.uint16)
        yield from (packed[:, k] for k in range(BANDS // 2))


def _proposed(traits: _Traits) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield arrays of positions that agree in a band of their hash and are neighbours by brightness there."""
    for band in traits.bands.T:
        order = np.lexsort((traits.bright, band))
        ranked = band[order]
        for step in range(1, min(WINDOW, len(order) - 1) + 1):
            same = np.flatnonzero(ranked[:-step] == ranked[step:])
            yield order[same], order[same + step]


def _confirmed(
    thumbnails: np.ndarray, traits: _Traits, left: np.ndarray, right: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    contrast = np.minimum(traits.contrast[left], traits.contrast[right])
    allowed = np.where(contrast < FLAT, 0.5, np.minimum(RELATIVE * contrast, ABSOLUTE))
    # no distance is smaller than the difference of the means and deviations: few pairs need their pixels compared
    mean, spread = (column[left] - column[right] for column in (traits.mean, traits.contrast))
    likely = np.sqrt(mean**2 + spread**2) <= allowed + 0.01  # for rounding
    left, right, allowed = left[likely], right[likely], allowed[likely]
    distance = np.concatenate(
        [
            _distance(thumbnails[left[k : k + CHUNK]], thumbnails[right[k : k + CHUNK]])
            for k in range(0, len(left) + 1, CHUNK)
        ]
    )
    near = distance <= allowed
    return left[near], right[near], distance[near].astype(float)


def _distance(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    # integers take half the memory of floats, and are exact
    difference = np.subtract(one, other, dtype=np.int16).reshape(len(one), SIDE * SIDE * 3)
    return np.sqrt(np.einsum("ij,ij->i", difference, difference, dtype=np.int32) / difference.shape[1])


def clusters(pairs: pd.DataFrame) -> dict[str, str]:
    """Return for each image of a pair the alphabetically first image that it hangs together with."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    names = sorted({*pairs["image_id"], *pairs["other_id"]})
    place = {name: k for k, name in enumerate(names)}
    ends = pairs["image_id"].map(place).to_numpy(int), pairs["other_id"].map(place).to_numpy(int)
    graph = coo_array((np.ones(len(pairs)), ends), shape=(len(names), len(names)))
    number = connected_components(graph, directed=False)[1] if names else np.array([], int)
    first: dict[int, str] = {}
    return {name: first.setdefault(int(k), name) for name, k in zip(names, number, strict=True)}
