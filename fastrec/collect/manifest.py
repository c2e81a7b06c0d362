"""Decode every picture once: what is usable becomes the manifest, what is not is listed with its reason."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Collection, Sequence
from contextlib import closing
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from fastrec import engine
from fastrec.artefacts import MANIFEST, REJECTED, SPLITS_ORDER
from fastrec.collect import decisions, duplicates
from fastrec.collect.look import look, measured
from fastrec.collect.seen import Memory
from fastrec.collect.sources import Item
from fastrec.collect.thumbnails import Thumbnails
from fastrec.files import FastrecError
from fastrec.run import Run

_FACTS = ["image_id", "width", "height", "mode", "format", "bytes", "warnings"]


def limit_per_class(items: Sequence[Item], limit: int | None) -> list[Item]:
    """Keep at most ``limit`` items of each label in each given split, chosen by a hash of the path's end.

    The choice does not depend on the order of the files, nor on the folder they lie in.
    """
    if limit is None:
        return list(items)
    if limit < 1:
        raise FastrecError(f"limit is {limit}: take at least 1, or None for all.")

    def rank(item: Item) -> bytes:
        return hashlib.sha256("/".join(item.path.parts[-2:]).encode("utf-8", "surrogateescape")).digest()

    taken: dict[tuple[tuple[str, ...], str | None], int] = {}
    kept = []
    for item in sorted(items, key=rank):
        key = (item.labels, item.split_hint)
        taken[key] = taken.get(key, 0) + 1
        if item.problem or taken[key] <= limit:
            kept.append(item)
    return sorted(kept, key=lambda item: os.fsencode(item.file))


@engine.without_garbage_collection()
def inspect(run: Run, items: Sequence[Item]) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """Decode every item once and tell the usable from the refused.

    Of files with the same bytes and label one is kept, that of a given test split before others, else the
    first by path; the others are refused as ``duplicate``.  The same bytes under two labels are refused
    altogether as ``label_conflict``, unless a decision by hand gives their label (`fastrec.collect.decisions`).

    Returns
    -------
    MANIFEST and REJECTED as tables, both sorted by path, and the pairs of near copies among the
    usable that were not dropped by hand (see `fastrec.collect.duplicates.pairs`).

    Raises
    ------
    FastrecError
        If no picture is usable, or all usable ones of a class are refused.
    """
    engine.start(len(items))
    with closing(Memory(run)) as memory:
        names, refused = _looked(run, items, memory)
        told = memory.keep(name for name in names if name)
        manifest, unfit = _rows(run, items, names, told)
        # whoever names the label of a picture settles two sources' quarrel over it
        manifest, repeated = _unique(manifest, decisions.decided(run, "relabel"))
        left = ~manifest["image_id"].isin(decisions.decided(run, "drop"))
        near = _near(told, manifest.loc[left, "image_id"], memory.thumbnails)
    rejected = pd.DataFrame([*refused, *unfit, *repeated], columns=REJECTED.schema.names)
    rejected = rejected.sort_values("path", ignore_index=True)
    _check_classes(run, items, manifest, rejected)
    return manifest, rejected, near


def _near(told: pa.Table, image_ids: pd.Series, thumbnails: Thumbnails) -> pd.DataFrame:
    """Find the near copies among some pictures: what hangs together must do so without the others."""
    asked = pc.is_in(told["image_id"], value_set=pa.array(image_ids, pa.string()))
    shown = told.select(["image_id", "place"]).filter(asked)
    places = shown["place"].to_numpy()
    return duplicates.pairs(shown["image_id"].combine_chunks(), lambda chosen: thumbnails[places[chosen]])


class _Files(Sequence[list[int]]):
    """For each file the positions of its items: one, or one for each of its boxes."""

    def __init__(self, items: Sequence[Item]) -> None:
        there = sorted((k for k, item in enumerate(items) if not item.problem), key=lambda k: items[k].file)
        first = [k for k, place in enumerate(there) if k == 0 or items[place].file != items[there[k - 1]].file]
        self._places, self._starts = np.array(there, int), np.array([*first, len(there)])

    def __len__(self) -> int:
        return len(self._starts) - 1

    def __getitem__(self, k: Any) -> Any:
        return self._places[self._starts[k] : self._starts[k + 1]].tolist()


def _looked(run: Run, items: Sequence[Item], memory: Memory) -> tuple[list[str | None], list[dict[str, str]]]:
    """Look at every file; return each item's identity, and the refusals of those that have none.

    What a machine could not bear (``timeout``, ``memory``, ``crashed``) is not remembered: the next run tries again.
    """
    names: list[str | None] = [None] * len(items)
    refusals = {place: item.problem for place, item in enumerate(items) if item.problem}
    files = _Files(items)

    def job(k: int) -> tuple[str, tuple[Any, ...]]:
        return items[files[k][0]].file, tuple(items[place].box for place in files[k])

    jobs = engine.OnDemand(len(files), job)
    with closing(engine.map_items(partial(look, known=memory.known), jobs, finish=measured)) as found:
        for k, answer in enumerate(engine.progress(found, len(jobs), "decode")):
            if isinstance(answer, engine.Lost):
                refusals |= dict.fromkeys(files[k], (answer.code, answer.message))
                continue
            for place, told in zip(files[k], answer, strict=True):
                names[place] = told[0]
                if told[0] is None:
                    refusals[place] = told[1:]
                elif len(told) > 1:
                    memory.add(told)
    return names, [_refusal(run.shorten(items[place].path), *reason) for place, reason in refusals.items()]


def _refusal(path: str, code: str, message: str) -> dict[str, str]:
    return {"path": path, "code": code, "message": f"{path} {message}."}


def _rows(
    run: Run, items: Sequence[Item], names: Sequence[str | None], told: pa.Table
) -> tuple[pd.DataFrame, list[dict[str, str]]]:
    """Join the items with what is known of their contents; return the usable ones and the refusals."""
    shorten = _shortener(run)
    kept = [place for place, name in enumerate(names) if name is not None]
    wanted = pa.array((names[place] for place in kept), pa.string())
    places = pc.index_in(wanted, value_set=told["image_id"].combine_chunks())
    good = told["code"].take(places).is_null().to_numpy()
    bad = told.select(["code", "message"]).take(places.filter(~good)).to_pylist()
    refused = [_refusal(shorten(items[kept[k]]), **why) for k, why in zip(np.flatnonzero(~good), bad, strict=True)]
    usable = [items[kept[k]] for k in np.flatnonzero(good)]
    rows = told.select(_FACTS).take(places.filter(good)).to_pandas()
    once: dict[Any, list[Any]] = {}  # most pictures have the labels of others: all point to one list of them
    rows["warnings"] = [once.setdefault(tuple(notes), list(notes)) for notes in rows["warnings"]]
    rows["path"] = [shorten(item) for item in usable]
    rows["labels"] = [once.setdefault(item.labels, list(item.labels)) for item in usable]
    rows["group"] = [item.group for item in usable]
    rows["split_hint"] = [item.split_hint for item in usable]
    rows["box"] = [list(item.box) if item.box else None for item in usable]
    rows["source"] = [item.source for item in usable]
    return rows[MANIFEST.schema.names], refused


def _shortener(run: Run) -> Callable[[Item], str]:
    """Return what does `Run.shorten`, faster for many files: it asks once for each folder."""
    folders: dict[str, str] = {}

    def shorten(item: Item) -> str:
        above, _, name = item.file.rpartition(os.sep)
        folder = folders.get(above) or folders.setdefault(above, run.shorten(item.path.parent))
        plain = name.isascii() and folder != "." and not folder.startswith("bytes:")
        return f"{folder}{os.sep}{name}" if plain else run.shorten(item.path)

    return shorten


def _unique(manifest: pd.DataFrame, settled: Collection[str] = ()) -> tuple[pd.DataFrame, list[dict[str, str]]]:
    """Keep one row per content: training on a copy and testing on the other would flatter the model.

    Contents in ``settled`` are kept in spite of two labels: a decision by hand names the right one.
    """
    dropped: list[dict[str, str]] = []
    if not manifest["path"].is_monotonic_increasing:
        manifest = manifest.sort_values("path", ignore_index=True)
    if manifest["group"].notna().any():
        manifest["group"] = _joined_groups(manifest)
    keep = ~manifest["image_id"].duplicated(keep=False)
    for _, same in manifest[~keep].groupby("image_id", sort=False):
        hints = same["split_hint"].map(SPLITS_ORDER.index, na_action="ignore").fillna(-1)
        place = same.index[int(hints.to_numpy().argmax())]
        first = same.loc[place]
        if len({tuple(labels) for labels in same["labels"]}) > 1 and first["image_id"] not in settled:
            what = " and ".join(
                f"{path} as {', '.join(labels)}" for path, labels in zip(same["path"], same["labels"], strict=True)
            )
            dropped += [
                {
                    "path": path,
                    "code": "label_conflict",
                    "message": f"the same picture has two labels: {what}; decide on it in notebook 1.",
                }
                for path in same["path"]
            ]
            continue
        keep[place] = True
        dropped += [
            {"path": path, "code": "duplicate", "message": _twice(path, first, hint)}
            for path, hint in zip(same["path"].drop(place), same["split_hint"].drop(place), strict=True)
        ]
    return manifest if keep.all() else manifest[keep].reset_index(drop=True), dropped


def _twice(path: str, first: pd.Series, hint: str | None) -> str:
    given = (
        f", which the source gave to {first['split_hint']},"
        if pd.notna(first["split_hint"]) and first["split_hint"] != hint
        else ""
    )
    return f"{path} has the same bytes as {first['path']}{given} and is not needed: remove it to be rid of this line."


def _joined_groups(manifest: pd.DataFrame) -> pd.Series:
    """Give all groups that share a picture one name, so that the one copy kept stands for all of them."""
    first: dict[str, str] = {}

    def root(group: str) -> str:
        while first.get(group, group) != group:
            group = first[group]
        return group

    grouped = manifest.dropna(subset=["group"]).drop_duplicates(["image_id", "group"])
    for _, same in grouped[grouped["image_id"].duplicated(keep=False)].groupby("image_id"):
        roots = sorted(root(group) for group in same["group"])
        first.update(dict.fromkeys(roots, roots[0]))
    of_image = grouped.drop_duplicates("image_id").set_index("image_id")["group"]
    named = manifest["group"].where(manifest["group"].notna(), manifest["image_id"].map(of_image))
    return named.map(root, na_action="ignore").astype(object)


def _check_classes(run: Run, items: Sequence[Item], manifest: pd.DataFrame, rejected: pd.DataFrame) -> None:
    usable = {label for labels in manifest["labels"] for label in labels}
    lost = sorted({label for item in items for label in item.labels} - usable)
    if lost:
        paths = {run.shorten(item.path) for item in items if lost[0] in item.labels}
        reasons = rejected.loc[rejected["path"].isin(paths), "code"].value_counts()
        what = ", ".join(f"{count} {code}" for code, count in reasons.items())
        raise FastrecError(f"class {lost[0]!r} has no usable image (refused: {what}): mend or remove it.")
