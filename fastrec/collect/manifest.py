"""Decode every picture once: what is usable becomes the manifest, what is not is listed with its reason."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from fastrec import engine, images
from fastrec.artefacts import MANIFEST, REJECTED
from fastrec.collect import duplicates
from fastrec.collect.sources import Item
from fastrec.files import FastrecError
from fastrec.run import Run


@dataclass(frozen=True)
class _Seen:
    """What one decode told about a file: its facts, or the reason of its refusal."""

    facts: dict[str, Any] | None
    code: str = ""
    message: str = ""


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
    return sorted(kept, key=lambda item: item.path)


def inspect(run: Run, items: Sequence[Item]) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """Decode every item once and tell the usable from the refused.

    Of files with the same bytes and label the first by path is kept, the others are refused as
    ``duplicate``; the same bytes under two labels are refused altogether as ``label_conflict``.

    Returns
    -------
    MANIFEST and REJECTED as tables, both sorted by path, and the pairs of near copies among the
    usable (see `fastrec.collect.duplicates.pairs`).

    Raises
    ------
    FastrecError
        If no picture is usable, or all usable ones of a class are refused.
    """
    seen = engine.progress(engine.map_items(_look, items), len(items), "decode")
    rows, refused, thumbnails = [], [], {}
    for item, found in zip(items, seen, strict=True):
        path = run.shorten(item.path)
        if found.facts is None:
            refused.append({"path": path, "code": found.code, "message": f"{path} {found.message}."})
        else:
            thumbnails[found.facts["image_id"]] = found.facts.pop("thumbnail")
            rows.append(_row(item, path, found.facts))
    manifest, repeated = _unique(pd.DataFrame(rows, columns=MANIFEST.schema.names))
    rejected = pd.DataFrame([*refused, *repeated], columns=REJECTED.schema.names).sort_values("path", ignore_index=True)
    _check_classes(items, manifest, rejected)
    near = duplicates.pairs(list(manifest["image_id"]), np.array([thumbnails[name] for name in manifest["image_id"]]))
    return manifest, rejected, near


def _look(item: Item) -> _Seen:
    if item.problem:
        return _Seen(None, *item.problem)
    try:
        data = images.read_bytes(item.path)
        picture = images.decode(data)
        pixels = images.crop(picture.pixels, item.box)
    except images.ImageError as error:
        return _Seen(None, error.code, str(error))
    height, width = pixels.shape[:2]
    thumbnail = images.resize(pixels, duplicates.SIDE)
    facts = {"width": width, "height": height, "mode": picture.mode, "format": picture.format, "bytes": len(data)}
    return _Seen(
        {"image_id": identity(data, item.box), "thumbnail": thumbnail, "warnings": list(picture.warnings), **facts}
    )


def identity(data: bytes, box: Sequence[float] | None) -> str:
    """Return an image's name: the sha256 of its file's bytes, and of the box where it has one."""
    digest = hashlib.sha256(data)
    if box is not None:
        digest.update(np.asarray(box, "<f8").tobytes())
    return digest.hexdigest()


def _row(item: Item, path: str, facts: dict[str, Any]) -> dict[str, Any]:
    given = {"path": path, "labels": list(item.labels), "group": item.group, "split_hint": item.split_hint}
    return {**given, "box": list(item.box) if item.box else None, "source": item.source, **facts}


def _unique(manifest: pd.DataFrame) -> tuple[pd.DataFrame, list[dict[str, str]]]:
    """Keep one row per content: training on a copy and testing on the other would flatter the model."""
    dropped: list[dict[str, str]] = []
    keep = []
    manifest = manifest.sort_values("path", ignore_index=True)
    manifest["group"] = _joined_groups(manifest)
    for _, same in manifest.groupby("image_id", sort=False):
        first = same.iloc[0]
        if len({tuple(labels) for labels in same["labels"]}) > 1:
            what = " and ".join(
                f"{path} as {', '.join(labels)}" for path, labels in zip(same["path"], same["labels"], strict=True)
            )
            dropped += [
                {"path": path, "code": "label_conflict", "message": f"the same picture has two labels: {what}."}
                for path in same["path"]
            ]
            continue
        keep.append(same.index[0])
        dropped += [
            {"path": path, "code": "duplicate", "message": f"{path} has the same bytes as {first['path']}."}
            for path in same["path"].iloc[1:]
        ]
    return manifest.loc[keep].sort_values("path", ignore_index=True), dropped


def _joined_groups(manifest: pd.DataFrame) -> pd.Series:
    """Give all groups that share a picture one name, so that the one copy kept stands for all of them."""
    first: dict[str, str] = {}

    def root(group: str) -> str:
        while first.get(group, group) != group:
            group = first[group]
        return group

    grouped = manifest.dropna(subset=["group"])
    of_image = grouped.groupby("image_id")["group"].unique()
    for groups in of_image[of_image.str.len() > 1]:
        roots = sorted(root(group) for group in groups)
        first.update(dict.fromkeys(roots, roots[0]))
    named = manifest["group"].where(manifest["group"].notna(), manifest["image_id"].map(of_image.str[0]))
    return named.map(root, na_action="ignore").astype(object)


def _check_classes(items: Sequence[Item], manifest: pd.DataFrame, rejected: pd.DataFrame) -> None:
    usable = {label for labels in manifest["labels"] for label in labels}
    lost = sorted({label for item in items for label in item.labels} - usable)
    if lost:
        reasons = rejected["code"].value_counts()
        what = ", ".join(f"{count} {code}" for code, count in reasons.items())
        raise FastrecError(f"class {lost[0]!r} has no usable image (refused: {what}): mend or remove it.")
