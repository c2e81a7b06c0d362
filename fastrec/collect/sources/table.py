"""``csv:PATH`` and ``parquet:PATH``: a table with path and label (or labels), perhaps split, group and a box."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fastrec.collect.sources import Item, Listing
from fastrec.collect.sources.folder import SPLIT_NAMES
from fastrec.files import FastrecError

if TYPE_CHECKING:
    import pandas as pd

BOX = ("left", "top", "width", "height")
SEPARATOR = "|"  # between the labels of one row in a column named ``labels``


def listing(table: Path) -> Listing:
    """List the rows of a table; a relative path starts at the folder of the table.

    ``label`` is taken as it is, ``labels`` is split at ``|`` (in Parquet it may be a list).  The
    columns ``left``, ``top``, ``width`` and ``height``, in pixels, make each row a crop.

    Raises
    ------
    FastrecError
        If the table cannot be read, lacks a column, or holds an empty path or label, a split that is
        none of train, valid and test, a bad box, or two rows that contradict each other: names the row.
    """
    rows = read_rows(table, "path")
    items = [
        Item(str(table.parent / row["path"]), row["labels"], row["group"], row["split"], row["box"]) for row in rows
    ]
    _refuse_contradictions(table, items)
    classes = sorted({label for item in items for label in item.labels})
    return Listing(sorted(set(items), key=lambda item: (os.fsencode(item.file), item.box or ())), classes)


def read_rows(table: Path, key: str) -> list[dict[str, Any]]:
    """Read a table's rows, checked: ``key``, ``labels`` (tuple), ``split``, ``group``, ``box`` and ``sha256``."""
    frame = _read(table)
    frame.columns = [str(name).strip().lower() for name in frame.columns]
    if key not in frame.columns or not {"label", "labels"} & set(frame.columns):
        lacking = repr(key) if key not in frame.columns else "'label' or 'labels'"
        found = ", ".join(frame.columns)
        raise FastrecError(
            f"{table} has no column {lacking} (found {found}): name its columns {key},label[,split,group]."
        )
    return [_row(table, number, row, key) for number, row in enumerate(frame.to_dict("records"), start=2)]


def _read(table: Path) -> pd.DataFrame:
    import pandas as pd

    try:
        if table.suffix == ".parquet":
            frame = pd.read_parquet(table)
            return frame.convert_dtypes().astype(object).where(frame.notna(), None)  # whole numbers stay whole
        return pd.read_csv(table, dtype=str, keep_default_na=False, encoding="utf-8-sig")
    except FileNotFoundError:
        raise FastrecError(f"{table} is not there: check the source's path.") from None
    except (OSError, ValueError) as error:  # pandas' parser, Arrow's and encoding errors are among these
        reason = str(error).strip().splitlines()[0] if str(error).strip() else "it is empty"
        raise FastrecError(f"{table} cannot be read as a table ({reason}): save it as UTF-8 CSV or Parquet.") from error


def _text(row: dict[Any, Any], name: str) -> str:
    value = row.get(name)
    return "" if value is None else str(value).strip()


def _row(table: Path, number: int, row: dict[Any, Any], key: str) -> dict[str, Any]:
    labels, split = _labels(row), _text(row, "split").lower()
    for name, value in ((key, _text(row, key)), ("label", labels)):
        if not value:
            raise FastrecError(f"{table} row {number} has an empty {name}: fill it in or remove the row.")
    if split and split not in SPLIT_NAMES:
        raise FastrecError(f"{table} row {number} has split {split!r}: write train, valid or test, or leave it empty.")
    return {
        key: _text(row, key),
        "labels": labels,
        "split": SPLIT_NAMES.get(split),
        "group": _text(row, "group") or None,
        "box": _box(table, number, row),
        "sha256": _text(row, "sha256"),
    }


def _labels(row: dict[Any, Any]) -> tuple[str, ...]:
    several = row.get("labels")
    if several is None:
        label = row.get("label")  # as it is: blanks around it are for the audit to see
        return (str(label),) if _text(row, "label") else ()
    parts = several if isinstance(several, np.ndarray) else str(several).split(SEPARATOR)  # in Parquet a list
    return tuple(sorted({str(part).strip() for part in parts if part is not None} - {""}))


def _box(table: Path, number: int, row: dict[Any, Any]) -> tuple[float, ...] | None:
    given = [_text(row, name) for name in BOX]
    if not set(BOX) <= set(row) or not any(given):
        return None
    try:
        box = tuple(float(value) for value in given)
    except ValueError:
        box = (0.0, 0.0, 0.0, 0.0)
    if box[2] <= 0 or box[3] <= 0:
        raise FastrecError(f"{table} row {number} has the box {given}: give left, top, width and height in pixels.")
    return box


def _refuse_contradictions(table: Path, items: list[Item]) -> None:
    seen: dict[tuple[str, tuple[float, ...] | None], Item] = {}
    for item in items:
        if seen.setdefault((item.file, item.box), item) != item:
            raise FastrecError(
                f"{table} names {item.path.name} twice with different entries: keep one row per picture."
            )
