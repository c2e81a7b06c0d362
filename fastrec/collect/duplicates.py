"""Near copies: hashes propose pairs of pictures, their pixels confirm or refuse."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd

SIDE = 16  # of the thumbnails, in pixels
BANDS = 8  # of 16 bits; two pictures meet if one band is equal
WINDOW = 32  # neighbours of a picture in a band that are compared
RELATIVE, ABSOLUTE = 0.2, 14.0  # largest root mean square difference: over the contrast, and in levels of 255
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
    found = [_confirmed(thumbnails, left, right) for left, right in _proposed(thumbnails)]
    left, right, value = (np.concatenate(parts) for parts in zip(*found, strict=True))
    names = np.asarray(image_ids, dtype=object)
    table = pd.DataFrame({"image_id": names[left], "other_id": names[right], "value": value})
    swapped = table["image_id"] > table["other_id"]
    table.loc[swapped, ["image_id", "other_id"]] = table.loc[swapped, ["other_id", "image_id"]].to_numpy()
    return table.drop_duplicates(["image_id", "other_id"]).sort_values(["image_id", "other_id"], ignore_index=True)


def _luma(thumbnails: np.ndarray) -> np.ndarray:
    return thumbnails.astype(np.float32) @ np.array([0.299, 0.587, 0.114], np.float32)


def _proposed(thumbnails: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield arrays of positions that agree in a band of their hash and are neighbours by brightness there."""
    luma = _luma(thumbnails)
    bright = luma.mean((1, 2))
    for band in _bands(luma):
        order = np.lexsort((bright, band))
        ranked = band[order]
        for step in range(1, min(WINDOW, len(order) - 1) + 1):
            same = np.flatnonzero(ranked[:-step] == ranked[step:])
            yield order[same], order[same + step]


def _bands(luma: np.ndarray) -> Iterator[np.ndarray]:
    for turned in (luma, luma.transpose(0, 2, 1)):
        rows = turned.reshape(len(luma), SIDE // 2, 2, SIDE).mean(2)
        bits = rows[:, :, ::2] < rows[:, :, 1::2]  # (n, 8, 8)
        packed = np.packbits(bits.reshape(len(luma), -1), axis=1).view(np.uint16)
        yield from (packed[:, k] for k in range(BANDS // 2))


def _confirmed(
    thumbnails: np.ndarray, left: np.ndarray, right: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    one, other = thumbnails[left].astype(np.float32), thumbnails[right].astype(np.float32)
    distance = np.sqrt(((one - other) ** 2).mean((1, 2, 3)))
    contrast = np.minimum(one.std((1, 2, 3)), other.std((1, 2, 3)))
    allowed = np.where(contrast < FLAT, 0.5, np.minimum(RELATIVE * contrast, ABSOLUTE))
    near = distance <= allowed
    return left[near], right[near], distance[near].astype(float)


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
