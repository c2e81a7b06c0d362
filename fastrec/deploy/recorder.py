"""The log of predictions: one table, written in the background so that it can never slow or break serving."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import Column, Engine, Float, MetaData, String, Table, Text, create_engine, delete, event, update
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, OperationalError, SQLAlchemyError

from fastrec.files import FastrecError

PREDICTIONS_TABLE = Table(
    "predictions",
    MetaData(),
    Column("id", String(32), primary_key=True),
    Column("time", String(32), nullable=False, index=True),  # UTC, ISO 8601
    Column("image_id", String(64)),  # sha256 of the uploaded bytes
    Column("path", Text),  # the name that the sender gave, cut; never used as a path
    Column("predicted", Text),
    Column("score", Float),
    Column("scores", Text),  # JSON: class -> probability
    Column("bundle", Text),
    Column("model_sha256", String(64)),
    Column("width", Float),
    Column("height", Float),
    Column("brightness", Float),
    Column("contrast", Float),
    Column("sharpness", Float),
    Column("saturation", Float),
    Column("milliseconds", Float),
    Column("source", String(20)),  # api, page, self-test, ...
    Column("code", String(40)),  # why a picture was refused; null for an answer
    Column("feedback", Text),  # the label that a person gave
    Column("feedback_time", String(32)),
)
WAITING = 1_000  # rows in memory; past this they are dropped and counted
_RETRY_SECONDS = 1.0


def open_log(url: str) -> Engine:
    """Open a log database, SQLite in WAL mode with a busy timeout, and make its table if missing.

    Raises
    ------
    FastrecError
        If the address is not one of SQLAlchemy's, or the database cannot be opened.
    """
    try:
        address = make_url(url)
        if address.get_backend_name() == "sqlite" and address.database:
            Path(address.database).parent.mkdir(parents=True, exist_ok=True)
        engine = create_engine(address)
        if address.get_backend_name() == "sqlite":
            event.listen(engine, "connect", _prepare_sqlite)
        PREDICTIONS_TABLE.metadata.create_all(engine)
    except (ArgumentError, ImportError, OSError, ValueError, SQLAlchemyError) as error:
        reason = str(error).splitlines()[0]
        raise FastrecError(
            f"the log {url!r} cannot be opened ({reason}): give one such as sqlite:///log.db."
        ) from error
    return engine


def _prepare_sqlite(connection: Any, _record: object) -> None:
    connection.execute("PRAGMA busy_timeout = 5000")
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = NORMAL")


def file_url(path: Path) -> str:
    """Return the address of an SQLite log."""
    return URL.create("sqlite", database=str(path)).render_as_string(hide_password=False)


def forget(engine: Engine, source: str) -> int:
    """Delete the rows of one source, such as an earlier self-test, and return how many there were."""
    with engine.begin() as connection:
        return connection.execute(delete(PREDICTIONS_TABLE).where(PREDICTIONS_TABLE.c.source == source)).rowcount


def now() -> str:
    """Return the time in UTC as ISO 8601 with milliseconds."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


class Recorder:
    """Writes rows to the log from one background thread.

    `add` never waits: it puts the row in a bounded queue.  While the database is away, rows wait
    there and then in vain: what does not fit is counted in `dropped`.

    Parameters
    ----------
    url
        Database address in SQLAlchemy's form.

    Raises
    ------
    FastrecError
        If the database cannot be opened at the start.
    """

    def __init__(self, url: str) -> None:
        self._engine = open_log(url)
        self._identity = self._file_identity()
        self._rows: queue.Queue[dict[str, Any]] = queue.Queue(WAITING)
        self._closing = threading.Event()
        self.dropped = 0
        self.written = 0
        self.failing = False
        self._thread = threading.Thread(target=self._work, name="recorder", daemon=True)
        self._thread.start()

    def add(self, row: dict[str, Any]) -> None:
        """Take a row; drop and count it when too many wait."""
        try:
            self._rows.put_nowait(row)
        except queue.Full:
            self.dropped += 1

    @property
    def waiting(self) -> int:
        """How many rows are not yet written."""
        return self._rows.unfinished_tasks

    def feedback(self, identifier: str, label: str, patience: float = 3.0) -> bool:
        """Note the label that a person gave to a prediction; the last word wins.

        Returns
        -------
        Whether the prediction is known.

        Raises
        ------
        FastrecError
            If the database cannot be written now.
        """
        self.flush(patience)
        table = PREDICTIONS_TABLE
        change = update(table).where(table.c.id == identifier, table.c.predicted.is_not(None))
        try:
            with self._engine.begin() as connection:
                found = connection.execute(change.values(feedback=label, feedback_time=now()))
                return found.rowcount > 0
        except SQLAlchemyError as error:
            raise FastrecError("the log cannot be written just now: send the feedback again later.") from error

    def flush(self, patience: float) -> bool:
        """Wait until all rows are written, at most ``patience`` seconds; return whether they are."""
        end = time.monotonic() + patience
        while self.waiting and time.monotonic() < end:
            time.sleep(0.005)
        return not self.waiting

    def close(self, patience: float = 3.0) -> None:
        """Write what waits, at most ``patience`` seconds long, and stop; the rest is counted as dropped."""
        self.flush(patience)
        self._closing.set()
        self._thread.join(timeout=1.0)
        self.dropped += self.waiting
        self._engine.dispose()

    def _work(self) -> None:
        while not self._closing.is_set():
            try:
                rows = [self._rows.get(timeout=0.1)]
            except queue.Empty:
                continue
            while len(rows) < 100 and not self._rows.empty():
                rows.append(self._rows.get_nowait())
            while not self._write(rows):
                if self._closing.wait(_RETRY_SECONDS):
                    return
            for _ in rows:
                self._rows.task_done()

    def _write(self, rows: Sequence[dict[str, Any]]) -> bool:
        """Write rows at once; return False when the database is away and the same rows shall come again."""
        try:
            self._mend()
            with self._engine.begin() as connection:
                connection.execute(PREDICTIONS_TABLE.insert(), [_complete(row) for row in rows])
            self.written += len(rows)
        except (OperationalError, OSError):  # locked, full, read-only or deleted: serving goes on, /ready tells
            self.failing = True
            return False
        except Exception:  # a row that no database takes must not hold up the others
            lost = 1 if len(rows) == 1 else sum(not self._write([row]) for row in rows)
            self.dropped += lost
        self.failing = False
        return True

    def _mend(self) -> None:
        """Make the database anew where it went away: SQLite would write on into a deleted file."""
        if self.failing or self._file_identity() != self._identity:
            self._engine.dispose()
            PREDICTIONS_TABLE.metadata.create_all(self._engine)
            self._identity = self._file_identity()

    def _file_identity(self) -> tuple[int, int] | None:
        file = self._engine.url.database if self._engine.dialect.name == "sqlite" else None
        if not file or not Path(file).exists():
            return None
        status = Path(file).stat()
        return status.st_dev, status.st_ino


def _complete(row: dict[str, Any]) -> dict[str, Any]:
    return {column.name: row.get(column.name) for column in PREDICTIONS_TABLE.columns}
