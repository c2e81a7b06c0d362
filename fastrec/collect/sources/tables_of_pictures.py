"""Pictures that come as rows, in the hub's Parquet tables or torchvision's sets, become class folders."""

from __future__ import annotations

import itertools
import json
import math
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from fastrec import engine
from fastrec.collect.sources.folder import SPLIT_NAMES
from fastrec.files import FastrecError

_LONGEST = 255  # bytes of a folder's name


class Row(NamedTuple):
    """One picture, still encoded, of a table; without a label where the table knows none."""

    split: str | None
    label: str | None
    picture: bytes


@dataclass
class ClassFolders:
    """Folders ``root/<split>/<label>/`` that pictures are written into, numbered through the whole set."""

    source: str
    root: Path
    labelled: int = 0
    unlabelled: int = 0
    _meant: dict[str, str] = field(default_factory=dict)

    def path(self, split: str | None, label: str | None, suffix: str = "") -> Path:
        """Return where the next picture goes: without a label beside the class folders, to be listed as such.

        Raises
        ------
        FastrecError
            If the label can be no folder's name, or two labels would share one.
        """
        number = self.labelled + self.unlabelled
        self.labelled, self.unlabelled = self.labelled + bool(label), self.unlabelled + (not label)
        place = self.root / (split or "") / (self._folder(label) if label else "")
        place.mkdir(parents=True, exist_ok=True)
        return place / f"{number:06d}{suffix}"

    def _folder(self, label: str) -> str:
        name = label.replace("/", "-")
        usable = name[0] != "." and "\0" not in name and len(os.fsencode(name)) <= _LONGEST
        if not usable or self._meant.setdefault(name, label) != label:
            shown = label if len(label) <= 80 else label[:80] + "…"
            raise FastrecError(
                f"{self.source} has the label {shown!r}, which makes no folder of its own: rename it and use csv:PATH."
            )
        return name


def unpack(source: str, root: Path) -> None:
    """Replace all Parquet tables of the hub's image format below ``root`` by class folders in it, if there are any.

    The split is named by the table's file or by a folder above it.  A label that is null, empty or -1,
    the hub's "unknown", is no label.

    Raises
    ------
    FastrecError
        If the tables are several configurations, one cannot be read, has no column of pictures or none of
        labels, or no picture has a label.
    """
    tables = sorted(root.rglob("*.parquet"))
    if not tables:
        return
    if len(found := {_configuration(table.relative_to(root)) for table in tables}) > 1:
        named = ", ".join(sorted(found))
        raise FastrecError(f"{source} has the configurations {named}: name one of them, hf:OWNER/NAME/CONFIGURATION.")
    folders = ClassFolders(source, root)
    pictures = itertools.chain.from_iterable(_rows(source, table, _split(table.relative_to(root))) for table in tables)
    for row in engine.progress(pictures, sum(_length(source, table) for table in tables), "unpack"):
        folders.path(row.split, row.label).write_bytes(row.picture)
    if not folders.labelled:
        raise FastrecError(f"{source} has no label for any of its {folders.unlabelled:,} pictures: take another set.")
    for table in tables:
        table.unlink()


def _words(name: str) -> Iterator[str]:
    return (SPLIT_NAMES[word] for word in re.split(r"\W|_", name.lower()) if word in SPLIT_NAMES)


def _split(table: Path) -> str | None:
    """Read the split off ``data/train-00000-of-00001.parquet`` or ``default/train/0000.parquet``."""
    names = [table.stem, *reversed(table.parent.parts)]
    return next(itertools.chain.from_iterable(map(_words, names)), None)


def _configuration(table: Path) -> str:
    return "/".join(part for part in table.parent.parts if not any(_words(part))) or "default"


@contextmanager
def _naming_damage(table: str) -> Iterator[None]:
    import pyarrow as pa

    try:
        yield
    except (OSError, ValueError, pa.ArrowException) as error:
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise FastrecError(f"{table} cannot be read ({reason}): fetch it again.") from error


def _length(source: str, table: Path) -> int:
    import pyarrow.parquet as pq

    with _naming_damage(f"{source} {table.name}"):
        return int(pq.read_metadata(table).num_rows)


def _rows(source: str, table: Path, split: str | None) -> Iterator[Row]:
    import pyarrow.parquet as pq

    told = f"{source} {table.name}"
    with _naming_damage(told), pq.ParquetFile(table) as file:
        features = _features(file)
        image, label = _columns(told, file, features)
        names, number = features.get(label, {}).get("names"), 0
        for batch in file.iter_batches(256, columns=[image, label]):
            for number, row in enumerate(batch.to_pylist(), start=number + 1):  # noqa: B020 (goes on counting)
                cell = row[image]  # without bytes the picture is empty, and refused by name when it is opened
                picture = cell.get("bytes") if isinstance(cell, dict) else cell
                yield Row(split, _label(f"{told} row {number}", row[label], names), picture or b"")


def _features(file: Any) -> dict[str, dict[str, Any]]:
    """Return what the hub says of each column; nothing where a table does not carry it."""
    try:
        told = json.loads(file.schema_arrow.metadata[b"huggingface"])["info"]["features"]
        return {name: one for name, one in told.items() if isinstance(one, dict)}
    except (ValueError, KeyError, TypeError, AttributeError):
        return {}


def _columns(table: str, file: Any, features: dict[str, dict[str, Any]]) -> tuple[str, str]:
    """Find the columns of pictures and labels: by the names in use, else the only one of the hub's own type."""
    import pyarrow as pa

    schema, found = file.schema_arrow, []
    for names, kind in ((("image", "img", "picture"), "Image"), (("label", "labels", "fine_label"), "ClassLabel")):
        typed = [name for name in schema.names if features.get(name, {}).get("_type") == kind]
        found.append(next((name for name in names if name in schema.names), typed[0] if len(typed) == 1 else None))
    image, label = found
    if image is None or label is None:
        raise FastrecError(f"{table} has the columns {schema.names}: one image and one label are needed.")
    kinds = schema.field(image).type, schema.field(label).type
    held = pa.types.is_struct(kinds[0]) or pa.types.is_binary(kinds[0]) or pa.types.is_large_binary(kinds[0])
    if not held or pa.types.is_nested(kinds[1]):
        raise FastrecError(f"{table} has {image} of type {kinds[0]} and {label} of type {kinds[1]}: take another set.")
    return image, label


def _label(place: str, value: Any, names: Any) -> str | None:
    if value is None or value == "" or (isinstance(value, float) and math.isnan(value)):
        return None
    if not isinstance(names, list) or not isinstance(value, int | float):
        return str(value)
    if not -1 <= value < len(names):
        raise FastrecError(f"{place} has the label {value}, but {len(names)} classes have names: take another set.")
    return str(names[int(value)]) if value >= 0 else None
