"""The four kinds of artefact: how each is read from disk, written there and checked."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
from pydantic import BaseModel, ConfigDict, ValidationError

from fastrec.files import FastrecError


class Model(BaseModel):
    """A JSON record that refuses unknown fields and NaN."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)


@dataclass(frozen=True)
class Table:
    """A Parquet table checked against ``schema`` on write and on read."""

    file: str
    schema: pa.Schema


@dataclass(frozen=True)
class Record:
    """A JSON file with one object of ``model``."""

    file: str
    model: type[BaseModel]


@dataclass(frozen=True)
class Array:
    """A ``.npy`` file, opened memory-mapped and read-only."""

    file: str


@dataclass(frozen=True)
class Folder:
    """A folder replaced as a whole; ``{name}`` in ``file`` is given by the caller."""

    file: str


Artefact = Table | Record | Array | Folder


def load(artefact: Artefact, path: Path, columns: Sequence[str] | None = None) -> Any:
    """Read a DataFrame, or some columns of it, a record or a memory-mapped array; of a folder return the path.

    Raises
    ------
    Exception
        Whatever the format's parser raises on damaged content; `reason` puts it in words.
    """
    if isinstance(artefact, Table):
        return _load_table(artefact, path, columns)
    if isinstance(artefact, Record):
        return artefact.model.model_validate_json(path.read_bytes())
    if isinstance(artefact, Array):
        import numpy as np

        return np.lib.format.open_memmap(path, mode="r")
    return path


def _load_table(artefact: Table, path: Path, columns: Sequence[str] | None) -> Any:
    chosen = artefact.schema if columns is None else pa.schema([artefact.schema.field(name) for name in columns])
    return _opened(artefact, path).read(columns=chosen.names).select(chosen.names).cast(chosen).to_pandas()


def parts(artefact: Table, path: Path, rows: int) -> Iterator[pa.RecordBatch]:
    """Read a table some rows at a time, so that it may be larger than the memory."""
    for part in _opened(artefact, path).iter_batches(rows):
        yield part.cast(artefact.schema)


def _opened(artefact: Table, path: Path) -> Any:
    import pyarrow.parquet as pq

    file = pq.ParquetFile(path, page_checksum_verification=True)
    if file.schema_arrow.names != artefact.schema.names:
        raise ValueError(f"columns {file.schema_arrow.names} instead of {artefact.schema.names}")
    return file


def save(artefact: Table | Record, content: Any, path: Path) -> None:
    """Write a record, or a table as a DataFrame or some rows after the others, after checking it.

    Raises
    ------
    FastrecError
        If a column or field is missing or has another type.
    """
    if isinstance(artefact, Table):
        _save_table(artefact, content, path)
        return
    try:
        record = artefact.model.model_validate(content)
    except ValidationError as error:
        raise FastrecError(f"{artefact.file} does not fit its schema ({reason(error)}): mend that field.") from error
    path.write_text(record.model_dump_json(indent=2) + "\n", encoding="utf-8")


def _save_table(artefact: Table, frame: Any, path: Path) -> None:
    import pyarrow.parquet as pq

    if isinstance(frame, Iterator):
        with pq.ParquetWriter(path, artefact.schema, write_page_checksum=True) as writer:
            for part in frame:
                writer.write(part)
        return
    missing = [name for name in artefact.schema.names if name not in frame.columns]
    if missing:
        raise FastrecError(f"{artefact.file} lacks the columns {', '.join(missing)}: add them before writing.")
    try:
        frame = frame.infer_objects()  # of bare objects Arrow takes 1.5 for 1, and "cat" for ["c", "a", "t"]
        table = pa.Table.from_pandas(frame, schema=artefact.schema, preserve_index=False)
    except (pa.ArrowException, TypeError, ValueError, OverflowError) as error:
        raise FastrecError(f"{artefact.file} does not fit its schema ({reason(error)}): mend that column.") from error
    pq.write_table(table, path, write_page_checksum=True)


def reason(error: Exception) -> str:
    """Say in one line what a parser found wrong; of a record, which field and why."""
    if isinstance(error, ValidationError):
        first = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        return f"{where}: {first['msg']}" if where else first["msg"]
    lines = str(error).strip().splitlines()
    return lines[0].rstrip(".") if lines else type(error).__name__
