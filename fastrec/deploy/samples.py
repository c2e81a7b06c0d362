"""The original files of a run's pictures: what parity and the service are tried with."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

import numpy as np
import pandas as pd

from fastrec import images
from fastrec.artefacts import MANIFEST, SPLITS
from fastrec.files import FastrecError
from fastrec.refusals import ImageError
from fastrec.run import Run


def draw(table: pd.DataFrame, most: int, seed: int) -> pd.DataFrame:
    """Take at most ``most`` rows at random, in the table's order."""
    if most < 1:
        raise FastrecError(f"pictures is {most}: take at least 1.")
    chosen = np.random.default_rng(seed).permutation(len(table))[:most]
    return table.iloc[np.sort(chosen)].reset_index(drop=True)


def original(run: Run, path: str, image_id: str) -> bytes:
    """Read a picture's file, the very one that collect saw.

    Raises
    ------
    FastrecError
        If it cannot be read or has other bytes now.
    """
    try:
        data = images.read_bytes(run.locate(path))
    except ImageError as error:
        raise FastrecError(f"{path} {error}.") from error
    if hashlib.sha256(data).hexdigest() != image_id:
        raise FastrecError(f"{path} changed after collect saw it: run notebooks/01_collect.ipynb again.")
    return data


def pictures(run: Run, split: str, most: int, seed: int = 0) -> Iterator[np.ndarray]:
    """Yield pictures of a split in their own size, uint8 (height, width, 3) each."""
    table = run.read(SPLITS).merge(run.read(MANIFEST)[["image_id", "path"]], on="image_id")
    drawn = draw(table[table["split"] == split], most, seed)
    for path, image_id in zip(drawn["path"], drawn["image_id"], strict=True):
        yield images.decode(original(run, path, image_id)).pixels
