"""``csv:PATH``: a table with the columns path and label, and perhaps split and group."""

from __future__ import annotations

import os
from pathlib import Path

import pandas as pd

from fastrec.collect.sources import Item, Listing
from fastrec.collect.sources.folder import SPLIT_NAMES
from fastrec.files import FastrecError


def listing(table: Path) -> Listing:
    """List the rows of a CSV file; a relative path starts at the folder of the CSV file.

    Raises
    ------
    FastrecError
        If the file cannot be read, lacks a column, or holds an empty path or label, or a split that is
        none of train, valid and test: names the row.
    """
    frame = _read(table)
    items = [_item(table, number, row) for number, row in enumerate(frame.to_dict("records"), start=2)]
    classes = sorted({label for item in items for label in item.labels})
    _refuse_contradictions(table, items)
    return Listing(sorted(set(items), key=lambda item: os.fsencode(item.path)), classes)


def _read(table: Path) -> pd.DataFrame:
    try:
        frame = pd.read_csv(table, dtype=str, keep_default_na=False, encoding="utf-8-sig")
    except FileNotFoundError:
        raise FastrecError(f"{table} is not there: check the source's path.") from None
    except (OSError, ValueError) as error:  # pandas' parser and encoding errors are ValueErrors
        reason = str(error).strip().splitlines()[0] if str(error).strip() else "it is empty"
        raise FastrecError(f"{table} cannot be read as a CSV table ({reason}): save it as UTF-8 CSV.") from error
    frame.columns = [str(name).strip().lower() for name in frame.columns]
    for name in ("path", "label"):
        if name not in frame.columns:
            found = ", ".join(frame.columns)
            raise FastrecError(f"{table} has no column {name!r} (found {found}): name its columns path,label[,split,group].")
    return frame


def _item(table: Path, number: int, row: dict[str, str]) -> Item:
    path, label, split = row["path"].strip(), row["label"], row.get("split", "").strip().lower()
    for name, value in (("path", path), ("label", label.strip())):
        if not value:
            raise FastrecError(f"{table} row {number} has an empty {name}: fill it in or remove the row.")
    if split and split not in SPLIT_NAMES:
        raise FastrecError(f"{table} row {number} has split {split!r}: write train, valid or test, or leave it empty.")
    return Item(table.parent / path, (label,), row.get("group", "").strip() or None, SPLIT_NAMES.get(split))


def _refuse_contradictions(table: Path, items: list[Item]) -> None:
    seen: dict[Path, Item] = {}
    for item in items:
        if seen.setdefault(item.path, item) != item:
            raise FastrecError(f"{table} names {item.path.name} twice with different entries: keep one row per picture.")
