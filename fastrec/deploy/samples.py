"""The original files of a run's pictures: what parity and the service are tried with."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import pandas as pd
from PIL import Image

from fastrec import images
from fastrec.artefacts import MANIFEST, SPLITS
from fastrec.collect.look import identity
from fastrec.files import FastrecError
from fastrec.refusals import ImageError
from fastrec.run import Run


def draw(table: pd.DataFrame, most: int, seed: int) -> pd.DataFrame:
    """Take at most ``most`` rows at random, in the table's order."""
    if most < 1:
        raise FastrecError(f"pictures is {most}: take at least 1.")
    chosen = np.random.default_rng(seed).permutation(len(table))[:most]
    return table.iloc[np.sort(chosen)].reset_index(drop=True)


def uploads(run: Run, image_ids: Iterable[str]) -> Iterator[bytes]:
    """Yield what a user would send: a picture's file, or a lossless PNG of what its box cuts out of it.

    Raises
    ------
    FastrecError
        If a file cannot be read or has other bytes than collect saw.
    """
    for data, box in _originals(run, image_ids):
        yield data if box is None else _png(images.crop(images.decode(data).pixels, box))


def pixels(run: Run, image_ids: Iterable[str]) -> Iterator[np.ndarray]:
    """Yield pictures in their own size, cut to their boxes: uint8 (height, width, 3) each.

    Raises
    ------
    FastrecError
        As `uploads` does.
    """
    for data, box in _originals(run, image_ids):
        yield images.crop(images.decode(data).pixels, box)


def pictures(run: Run, split: str, most: int, seed: int = 0) -> Iterator[np.ndarray]:
    """Yield the `pixels` of at most ``most`` pictures of a split."""
    table = run.read(SPLITS)
    return pixels(run, draw(table[table["split"] == split], most, seed)["image_id"])


def _originals(run: Run, image_ids: Iterable[str]) -> Iterator[tuple[bytes, Sequence[float] | None]]:
    """Yield the very bytes that collect saw, and the box."""
    manifest = run.read(MANIFEST).set_index("image_id")
    for image_id in image_ids:
        path, box = manifest["path"][image_id], manifest["box"][image_id]
        try:
            data = images.read_bytes(run.locate(path))
        except ImageError as error:
            raise FastrecError(f"{path} {error}.") from error
        if identity(data, box) != image_id:
            raise FastrecError(f"{path} changed after collect saw it: run notebooks/01_collect.ipynb again.")
        yield data, box


def _png(picture: np.ndarray) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(picture)).save(stream, "PNG")
    return stream.getvalue()
