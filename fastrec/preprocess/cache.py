"""Decode and resize once: a memory-mapped uint8 array that every later stage reads rows from.

Only what is new is decoded: rows of the cache that is there, or of one whose build was killed, are copied.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import get_args

import numpy as np
import pandas as pd

from fastrec import channels, engine, labels, provenance
from fastrec.artefacts import CACHE, IMAGES
from fastrec.files import FastrecError
from fastrec.preprocess import rows
from fastrec.records import CacheInfo, Resize
from fastrec.run import Run, home

COUNTED = 2048  # with so many pictures, mean and deviation are within about a hundredth of a deviation


def build(
    run: Run,
    manifest: pd.DataFrame,
    splits: pd.DataFrame,
    size: int,
    resize: Resize = "squish",
    colour: str = "rgb",
) -> CacheInfo:
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
        ``squish``, ``crop`` or ``pad``: see `fastrec.images.resize`.
    colour
        ``rgb`` or ``grey``: see `fastrec.channels`.

    Raises
    ------
    FastrecError
        If a parameter is out of range, or a file is no longer the one that collect saw.
    """
    if resize not in get_args(Resize):
        raise FastrecError(f"resize is {resize!r}: take one of {', '.join(get_args(Resize))}.")
    if not 8 <= size <= 2048:
        raise FastrecError(f"size is {size}: take 8 to 2048 pixels.")
    shape = (size, size, channels.count(colour))
    table = splits.merge(manifest[["image_id", "path", "box"]], on="image_id").sort_values("row")
    with run.writing(IMAGES) as temporary:
        part, counts = _assembled(run, table, shape, resize)
        _link(part, temporary)
    for left in _unfinished(run.path(IMAGES)):
        left.unlink()
    mean, std = _statistics(counts)
    several = labels.several(manifest["labels"])
    classes = sorted({name for text in splits["label"].unique() for name in labels.each(text, several)})
    info = CacheInfo(
        n=len(table),
        size=size,
        resize=resize,
        mean=mean,
        std=std,
        classes=classes,
        multi_label=several,
        channels=shape[2],
    )
    run.write(CACHE, info)
    return info


def _counted(split: pd.Series) -> list[bool]:
    """Choose the train pictures whose levels give mean and deviation: of many, some evenly spread over the rows."""
    counted = np.zeros(len(split), bool)
    train = np.flatnonzero(split == "train")
    counted[train[:: -(-len(train) // COUNTED) or 1]] = True
    return counted.tolist()


def _locator(run: Run) -> Callable[[str], str]:
    """Return `Run.locate`, faster for many files: it asks once for the home folder."""
    base = str(home())

    def locate(path: str) -> str:
        if ":" in path:
            return str(run.locate(path))
        return path if path.startswith(os.sep) else f"{base}{os.sep}{path}"

    return locate


def _assembled(run: Run, table: pd.DataFrame, shape: tuple[int, int, int], rule: Resize) -> tuple[Path, np.ndarray]:
    """Return a file with a row for each picture, and how often each level occurs in those that are counted.

    Rows of earlier builds are copied, the others are decoded.
    """
    made, names, counted = run.path(IMAGES), table["image_id"].to_list(), _counted(table["split"])
    job, contents = _jobs(run, table, f"{shape[0]} {rule} {provenance.decoder_fingerprint(Path(rows.__file__))}")
    layout = rows.Layout.of(made.with_name(f".{made.stem}.{contents}.part"), len(names), shape)
    layout.reserve(len(names))
    sources = [rows.Earlier(path, shape) for path in (layout.path, made, *_unfinished(made))]

    def work(place: int) -> rows.Work:
        one = job(place)
        return rows.Work(one, _copied(one, sources, layout), counted[place])

    wanted = engine.OnDemand(len(names), work)
    fill, counts = partial(rows.fill, layout=layout, rule=rule), rows.levels(b"", shape)
    with closing(engine.map_items(fill, wanted, finish=partial(rows.store, layout=layout))) as filled:
        for place, levels in enumerate(engine.progress(filled, len(names), "cache")):
            if isinstance(levels, engine.Lost):
                raise FastrecError(f"{job(place)[2]} {levels.message}; it was usable before: then run again.")
            if levels is not None:
                counts += levels
    return layout.path, counts


def _jobs(run: Run, table: pd.DataFrame, made_by: str) -> tuple[Callable[[int], rows.Job], str]:
    """Return what names the work for a place in the table, and a short checksum of all that the rows will show."""
    columns = [table[name].to_list() for name in ("row", "image_id", "path", "box")]
    locate = _locator(run)

    def job(place: int) -> rows.Job:
        row, name, path, box = (column[place] for column in columns)
        return row, rows.key(name, made_by), locate(path), name, box if box is None else tuple(box)

    return job, hashlib.sha256("\n".join([made_by, *columns[1]]).encode()).hexdigest()[:16]


def _unfinished(made: Path) -> list[Path]:
    """List what builds that were killed have left; it lies there until one comes to its end."""
    return sorted(made.parent.glob(f".{made.stem}.*.part"))


def _copied(job: rows.Job, sources: Sequence[rows.Earlier], layout: rows.Layout) -> bool:
    for source in sources:
        if found := source.find(job[1]):
            row, pixels = found
            if (source.path, row) != (layout.path, job[0]):
                layout.put(job[0], [job[1]], [pixels.tobytes()])
            return True
    return False


def _link(part: Path, target: Path) -> None:
    """Give a file a second name, so that a kill before its last one does not lose it."""
    try:
        target.hardlink_to(part)
    except OSError:  # not every file system has such links
        part.replace(target)


def _statistics(counts: np.ndarray) -> tuple[list[float], list[float]]:
    """Return mean and deviation per channel, on the scale 0 to 1, from counts of levels."""
    scale, total = np.arange(256) / 255, counts[0].sum()
    mean = counts @ scale / total
    deviation = np.sqrt(np.maximum(counts @ scale**2 / total - mean**2, 0))
    return mean.round(6).tolist(), np.maximum(deviation, 1e-3).round(6).tolist()
