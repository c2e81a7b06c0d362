"""Decode and resize once: a memory-mapped uint8 array that every later stage reads rows from."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd

from fastrec import engine, images
from fastrec.artefacts import CACHE, IMAGES
from fastrec.collect.manifest import identity
from fastrec.files import FastrecError
from fastrec.records import CacheInfo, Resize
from fastrec.run import Run


def build(run: Run, manifest: pd.DataFrame, splits: pd.DataFrame, size: int, resize: Resize = "squish") -> CacheInfo:
    """Write IMAGES and CACHE: row ``splits.row`` holds the image of ``splits.image_id``.

    Parameters
    ----------
    run
        Where they go.
    manifest, splits
        The tables MANIFEST and SPLITS.
    size
        Side of the cached images in pixels.
    resize
        ``squish`` or ``crop``: see `fastrec.images.resize`.

    Raises
    ------
    FastrecError
        If a parameter is out of range, or a file is no longer the one that collect saw.
    """
    if resize not in ("squish", "crop"):
        raise FastrecError(f"resize is {resize!r}: take 'squish' or 'crop'.")
    if not 8 <= size <= 2048:
        raise FastrecError(f"size is {size}: take 8 to 2048 pixels.")
    table = splits.merge(manifest[["image_id", "path", "box"]], on="image_id").sort_values("row")
    jobs = [
        (run.locate(path), image_id, box)
        for path, image_id, box in zip(table["path"], table["image_id"], table["box"], strict=True)
    ]
    made = engine.map_items(partial(_prepare, size=size, rule=resize), jobs)
    with run.writing(IMAGES) as temporary:
        shape = (len(jobs), size, size, 3)
        with temporary.open("wb") as stream:  # not open_memmap: a full disk must raise, not end the process
            np.lib.format.write_array_header_2_0(stream, {"descr": "|u1", "fortran_order": False, "shape": shape})
            for pixels in engine.progress(made, len(jobs), "cache"):
                stream.write(pixels.tobytes())
    mean, std = channel_statistics(run.read(IMAGES), table.loc[table["split"] == "train", "row"].to_numpy())
    classes = sorted(splits["label"].unique())
    info = CacheInfo(n=len(jobs), size=size, resize=resize, mean=mean, std=std, classes=classes)
    run.write(CACHE, info)
    return info


def _prepare(job: tuple[Path, str, Sequence[float] | None], size: int, rule: str) -> np.ndarray:
    path, expected, box = job
    try:
        data = images.read_bytes(path)
        if identity(data, box) != expected:
            raise FastrecError(f"{path} changed after collect saw it: run notebooks/01_collect.ipynb again.")
        return images.resize(images.crop(images.decode(data).pixels, box), size, rule)
    except images.ImageError as error:
        raise FastrecError(f"{path} {error}; it was usable before: run notebooks/01_collect.ipynb again.") from error


def channel_statistics(cached: np.ndarray, rows: np.ndarray) -> tuple[list[float], list[float]]:
    """Return mean and deviation per channel, on the scale 0 to 1, over the given rows."""
    total, squares, count = np.zeros(3), np.zeros(3), 0
    for start in range(0, len(rows), 1024):
        levels = np.asarray(cached[rows[start : start + 1024]], np.float64).reshape(-1, 3) / 255.0
        total, squares, count = total + levels.sum(0), squares + (levels**2).sum(0), count + len(levels)
    mean = total / count
    deviation = np.sqrt(np.maximum(squares / count - mean**2, 0))
    return mean.round(6).tolist(), np.maximum(deviation, 1e-3).round(6).tolist()
