"""Near copies: hashes propose pairs of pictures, their pixels confirm or refuse."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pyarrow as pa

SIDE = 16  # of the thumbnails, in pixels
BANDS = 8  # of 16 bits; two pictures meet if one band is equal
WINDOW = 32  # neighbours of a picture in a band that are compared
RELATIVE, ABSOLUTE = 0.2, 14.0  # largest root mean square difference: over the contrast, and in levels of 255
NEAREST = 8  # near copies of one picture that are told
CHUNK = 512  # pictures or pairs compared at once
ROUNDING = 0.01
BLOCK = 4  # pixels a side: what the first look at a pair compares
FLAT = 4.0  # contrast below which only nearly equal levels prove anything
Lookup = Callable[[np.ndarray], np.ndarray]  # returns what is at some positions


def pairs(image_ids: pa.Array, thumbnails: Lookup) -> pd.DataFrame:
    """Find the pairs of near copies: resized, re-encoded or slightly edited versions of one picture.

    Difference hashes (Krawetz 2013, hackerfactor.com) along rows and columns propose pairs; equal
    hashes alone prove nothing for small pictures, so the thumbnails decide.  The cost per picture does
    not grow with their number.

    Parameters
    ----------
    image_ids
        n names, an array of text.
    thumbnails
        What returns the thumbnails at some positions: uint8, (m, 16, 16, 3), squished to a square.

    Returns
    -------
    One row per pair: ``image_id`` and ``other_id`` in alphabetical order, and ``value``, the root mean
    square difference in levels of 255.  A picture that has more than 8 near copies is told with the nearest,
    and with those through which all of them hang together.
    """
    count = len(image_ids)
    traits = _Traits.of(thumbnails, count)
    key, value = np.empty(0, int), np.empty(0)
    for band in traits.bands.T:
        found = [(key, value), *(_confirmed(thumbnails, traits, *pair) for pair in _proposed(band, traits.bright))]
        key, value = _thinned(count, *(np.concatenate(parts) for parts in zip(*found, strict=True)))
    one, other = (image_ids.take(pa.array(ends)).to_pandas() for ends in divmod(key, max(1, count)))
    table = pd.DataFrame({"image_id": one, "other_id": other, "value": value})
    swapped = table["image_id"] > table["other_id"]
    table.loc[swapped, ["image_id", "other_id"]] = table.loc[swapped, ["other_id", "image_id"]].to_numpy()
    return table.sort_values(["image_id", "other_id"], ignore_index=True)


def _thinned(count: int, key: np.ndarray, value: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Keep each pair once; of many near copies of one picture the nearest, and what connects all that hang together.

    The frames of a film would else make pairs without number.  What is kept of the parts is kept of the whole too,
    so that it may be done bit by bit.
    """
    key, first = np.unique(key, return_index=True)
    value = value[first]
    if not len(key):
        return key, value
    ends = np.concatenate(divmod(key, count))
    order = np.lexsort((np.tile(key, 2), np.tile(value, 2), ends))
    place = np.arange(len(order)) - np.searchsorted(ends[order], ends[order])  # among the pairs of the same picture
    kept = np.unique(order[place < NEAREST] % len(key))
    if len(kept) < len(key):
        kept = np.union1d(kept, _forest(count, key, value))
    return key[kept], value[kept]


def _forest(count: int, key: np.ndarray, value: np.ndarray) -> np.ndarray:
    """Return the places of the nearest pairs that connect all pictures which any pairs connect."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import minimum_spanning_tree

    rank = np.lexsort((key, value)).argsort() + 1.0  # no two are equal, so there is one answer; 0 would be no edge
    tree = minimum_spanning_tree(coo_array((rank, divmod(key, count)), shape=(count, count)).tocsr()).tocoo()
    return np.searchsorted(key, tree.row.astype(int) * count + tree.col)


@dataclass(frozen=True)
class _Traits:
    """What is compared before any pixels are: arrays over the pictures."""

    bands: np.ndarray  # uint16, (n, 8): parts of the difference hash
    bright: np.ndarray  # mean luma
    mean: np.ndarray  # of all levels
    contrast: np.ndarray  # their deviation
    blocks: np.ndarray  # uint16, (n, 48): sums of the levels in 4 x 4 blocks of 4 x 4 pixels

    @classmethod
    def of(cls, thumbnails: Lookup, count: int) -> _Traits:
        """Measure thumbnails, some at a time: as floats, all of them would take eight times their memory."""
        bright, mean, contrast = np.empty((3, count), np.float32)
        blocks = np.empty((count, 3 * (SIDE // BLOCK) ** 2), np.uint16)
        traits = cls(np.empty((count, BANDS), np.uint16), bright, mean, contrast, blocks)
        for start in range(0, count, CHUNK):
            here = np.arange(start, min(start + CHUNK, count))
            traits.bands[here], traits.bright[here], traits.mean[here], traits.contrast[here], traits.blocks[here] = (
                _measured(thumbnails(here))
            )
        return traits


def _measured(thumbnails: np.ndarray) -> tuple[np.ndarray, ...]:
    levels = thumbnails.astype(np.float32)
    luma = levels @ np.array([0.299, 0.587, 0.114], np.float32)
    flat = levels.reshape(len(levels), -1)
    blocks = levels.reshape(-1, 4, BLOCK, 4, BLOCK, 3).sum((2, 4)).astype(np.uint16).reshape(len(levels), -1)
    return np.stack(list(_bands(luma)), axis=1), luma.mean((1, 2)), flat.mean(1), flat.std(1), blocks


def _bands(luma: np.ndarray) -> Iterator[np.ndarray]:
    for turned in (luma, luma.transpose(0, 2, 1)):
        rows = turned.reshape(len(luma), SIDE // 2, 2, SIDE).mean(2)
        bits = rows[:, :, ::2] < rows[:, :, 1::2]  # (n, 8, 8)
        packed = np.packbits(bits.reshape(len(luma), -1), axis=1).view(np.uint16)
        yield from (packed[:, k] for k in range(BANDS // 2))


def _proposed(band: np.ndarray, bright: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield arrays of positions that agree in a band of their hash and are neighbours by brightness there."""
    order = np.lexsort((bright, band))
    ranked = band[order]
    for step in range(1, min(WINDOW, len(order) - 1) + 1):
        same = np.flatnonzero(ranked[:-step] == ranked[step:])
        yield order[same], order[same + step]


def _confirmed(
    thumbnails: Lookup, traits: _Traits, left: np.ndarray, right: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return the pairs whose pixels agree, each as one number, and how far they are apart.

    No distance is smaller than that of the means and deviations, nor than that of the blocks' means (of what is
    averaged, the mean square is no larger): few pairs need their pixels read.
    """
    contrast = np.minimum(traits.contrast[left], traits.contrast[right])
    allowed = np.where(contrast < FLAT, 0.5, np.minimum(RELATIVE * contrast, ABSOLUTE))
    mean, spread = (column[left] - column[right] for column in (traits.mean, traits.contrast))
    likely = np.sqrt(mean**2 + spread**2) <= allowed + ROUNDING
    left, right, allowed = left[likely], right[likely], allowed[likely]
    likely = _distance(traits.blocks.__getitem__, left, right) / BLOCK**2 <= allowed + ROUNDING
    left, right, allowed = left[likely], right[likely], allowed[likely]
    distance = _distance(thumbnails, left, right)
    near = distance <= allowed
    left, right = np.minimum(left[near], right[near]), np.maximum(left[near], right[near])
    return left * len(traits.mean) + right, distance[near].astype(float)


def _distance(shown: Lookup, left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Return the root mean square differences of pairs, some at a time; of integers, which is exact."""
    return np.concatenate(
        [
            _difference(shown(left[start : start + CHUNK]), shown(right[start : start + CHUNK]))
            for start in range(0, len(left) + 1, CHUNK)
        ]
    )


def _difference(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    difference = np.subtract(one, other, dtype=np.int16).reshape(len(one), math.prod(one.shape[1:]))
    return np.sqrt(np.einsum("ij,ij->i", difference, difference, dtype=np.int32) / difference.shape[1])


def among(image_ids: pd.Series, pairs: pd.DataFrame) -> pd.DataFrame:
    """Return the pairs of which both pictures are among ``image_ids``."""
    there = set(image_ids[image_ids.isin([*pairs["image_id"], *pairs["other_id"]])])
    return pairs[pairs["image_id"].isin(there) & pairs["other_id"].isin(there)].reset_index(drop=True)


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
