"""What earlier looks told about contents, kept in SEEN: collect's own memory, so that none is decoded twice."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from fastrec import provenance
from fastrec.artefacts import SEEN, STATISTICS
from fastrec.collect import look
from fastrec.collect.thumbnails import Thumbnails
from fastrec.files import FastrecError
from fastrec.run import Run

ROWS = 1024  # that are read, kept as they came and written together
EVERY = 30.0  # seconds between two savings while a long decode runs
FACTS = [name for name in SEEN.schema.names if name not in ("thumbnail", "decoder")]
_TOLD = pa.schema([*(SEEN.schema.field(name) for name in FACTS), pa.field("place", pa.int32())])


def measures(run: Run) -> pd.DataFrame:
    """Return what the audit needs of SEEN, a tenth of it: each content's statistics."""
    return run.read(SEEN, columns=["image_id", *STATISTICS[2:], "coarse_sharpness"])


class Memory:
    """The contents that are known, and the doors to add more and to save them.

    Only what this decoder told is taken from the run.  A table that is missing, damaged or of another
    make is no fault: what cannot be read is decoded again.

    Parameters
    ----------
    run
        Whose SEEN it is.
    """

    def __init__(self, run: Run) -> None:
        self._run = run
        self._decoder = provenance.decoder_fingerprint(Path(look.__file__))
        self.thumbnails = Thumbnails(run.path(SEEN).parent)
        self._parts = [_TOLD.empty_table(), *map(self._taken, self._kept())]
        self.known: frozenset[str] = frozenset(name for part in self._parts for name in part["image_id"].to_pylist())
        self._new: set[str] = set()
        self._rows: list[tuple[Any, ...]] = []
        self._saved = time.monotonic()
        self._took = 0.0

    def _kept(self) -> Iterator[pa.RecordBatch]:
        with suppress(FastrecError):
            for part in self._run.parts(SEEN, ROWS):
                yield part.filter(pc.equal(part["decoder"], self._decoder))

    def close(self) -> None:
        """Let go of the thumbnails."""
        self.thumbnails.close()

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
            self._parts.append(self._taken(pa.record_batch(arrays, schema=SEEN.schema)))
            self._rows = []

    def _taken(self, part: pa.RecordBatch) -> pa.Table:
        """Put the thumbnails of some rows where they take no memory; what is left tells their place there."""
        there = part["thumbnail"].is_valid()
        places = np.cumsum(there.to_numpy(zero_copy_only=False)) + (len(self.thumbnails) - 1)
        self.thumbnails.add(part["thumbnail"].drop_null().to_pylist())
        place = pc.if_else(there, pa.array(places, pa.int32()), None)
        return pa.table([*(part[name] for name in FACTS), place], schema=_TOLD)

    def _save(self) -> None:
        self._pack()
        self._parts = [pa.concat_tables(self._parts).sort_by("image_id")]
        self._run.write(SEEN, self._whole(self._parts[0]))

    def _whole(self, told: pa.Table) -> Iterator[pa.RecordBatch]:
        """Yield the rows of SEEN, some at a time."""
        for part in told.combine_chunks().to_batches(ROWS):
            levels = iter(self.thumbnails[part["place"].drop_null().to_numpy()])
            shown = [next(levels).tobytes() if there.as_py() else None for there in part["place"].is_valid()]
            columns = {name: part[name] for name in FACTS}
            columns |= {"thumbnail": pa.array(shown, pa.binary()), "decoder": pa.repeat(self._decoder, len(part))}
            yield pa.record_batch([columns[name] for name in SEEN.schema.names], schema=SEEN.schema)

    def keep(self, present: Iterable[str]) -> pa.Table:
        """Save what is known of the contents that are present and forget the others.

        Returns
        -------
        Sorted by name, SEEN with the ``place`` of each thumbnail (null where there is none) instead of itself.
        """
        self._pack()
        if self.known and self.known - (left := set(present)):
            there = pa.array(list(left), pa.string())
            self._parts = [part.filter(pc.is_in(part["image_id"], value_set=there)) for part in self._parts]
        self._save()
        return self._parts.pop()
