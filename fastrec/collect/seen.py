"""What earlier looks told about contents, kept in SEEN: collect's own memory, so that none is decoded twice."""

from __future__ import annotations

import time
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from fastrec import provenance
from fastrec.artefacts import SEEN
from fastrec.collect import look
from fastrec.files import FastrecError
from fastrec.run import Run

ROWS = 1024  # that are kept as they came
EVERY = 30.0  # seconds between two savings while a long decode runs


class Memory:
    """The contents that are known, and the doors to add more and to save them.

    Only what this decoder told is taken from the run.  A table that is missing, damaged or of another
    make is no fault: everything is decoded again.

    Parameters
    ----------
    run
        Whose SEEN it is.
    """

    def __init__(self, run: Run) -> None:
        self._run = run
        self._decoder = provenance.decoder_fingerprint(Path(look.__file__))
        self._parts = [SEEN.schema.empty_table()]
        if run.has(SEEN):
            with suppress(FastrecError):
                kept = run.read(SEEN)
                kept = kept[kept["decoder"] == self._decoder]
                self._parts = [pa.Table.from_pandas(kept, SEEN.schema, preserve_index=False).cast(SEEN.schema)]
        self.known: frozenset[str] = frozenset(self._parts[0]["image_id"].to_pylist())
        self._new: set[str] = set()
        self._rows: list[tuple[Any, ...]] = []
        self._saved = time.monotonic()
        self._took = 0.0

    def add(self, row: tuple[Any, ...]) -> None:
        """Keep what a look told; now and then all is saved, so that a kill costs seconds."""
        if row[0] in self._new:  # copies were looked at in two children
            return
        self._new.add(row[0])
        self._rows.append(row)
        if len(self._rows) == ROWS:
            self._pack()
        began = time.monotonic()
        if began - self._saved > max(EVERY, 20 * self._took):
            self._save()
            self._saved = time.monotonic()
            self._took = self._saved - began

    def _pack(self) -> None:
        """Turn rows into columns, which take a fraction of their memory."""
        if self._rows:
            columns = [*zip(*self._rows, strict=True), [self._decoder] * len(self._rows)]
            arrays = [pa.array(values, kind) for values, kind in zip(columns, SEEN.schema.types, strict=True)]
            self._parts.append(pa.table(arrays, schema=SEEN.schema))
            self._rows = []

    def _save(self) -> None:
        self._pack()
        self._parts = [pa.concat_tables(self._parts).sort_by("image_id")]
        pa.default_memory_pool().release_unused()  # what they were before
        self._run.write(SEEN, self._parts[0])

    def keep(self, present: Collection[str]) -> pa.Table:
        """Save what is known of the contents that are present and forget the others; return SEEN, sorted."""
        self._pack()
        if self.known - set(present):
            there = pa.array(list(present), pa.string())
            self._parts = [part.filter(pc.is_in(part["image_id"], value_set=there)) for part in self._parts]
        self._save()
        return self._parts.pop()
