"""What earlier looks told about contents, kept in SEEN: collect's own memory, so that none is decoded twice."""

from __future__ import annotations

import time
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path
from typing import Any

import pandas as pd

from fastrec import provenance
from fastrec.artefacts import SEEN
from fastrec.collect import look
from fastrec.files import FastrecError
from fastrec.run import Run

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
        self._before = pd.DataFrame(columns=SEEN.schema.names)
        if run.has(SEEN):
            with suppress(FastrecError):
                kept = run.read(SEEN)
                self._before = kept[kept["decoder"] == self._decoder]
        self.known: frozenset[str] = frozenset(self._before["image_id"])
        self._rows: dict[str, tuple[Any, ...]] = {}
        self._saved = time.monotonic()
        self._took = 0.0

    def add(self, row: tuple[Any, ...]) -> None:
        """Keep what a look told; now and then all is saved, so that a kill costs seconds."""
        self._rows[row[0]] = (*row, self._decoder)
        began = time.monotonic()
        if began - self._saved > max(EVERY, 20 * self._took):
            self._run.write(SEEN, self.table())
            self._saved = time.monotonic()
            self._took = self._saved - began

    def table(self) -> pd.DataFrame:
        """Return all that is known as a table SEEN, sorted by ``image_id``."""
        new = pd.DataFrame(list(self._rows.values()), columns=SEEN.schema.names)
        both = [frame for frame in (self._before, new) if len(frame)] or [new]
        return pd.concat(both).sort_values("image_id", ignore_index=True)

    def keep(self, present: Collection[str]) -> pd.DataFrame:
        """Save what is known of the contents that are present and forget the others; return the table."""
        table = self.table()
        table = table[table["image_id"].isin(present)].reset_index(drop=True)
        self._run.write(SEEN, table)
        return table
