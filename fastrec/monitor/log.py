"""Read the service's log: any database that SQLAlchemy knows, by default an SQLite file of the run."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

import pandas as pd
from sqlalchemy import Connection, Select, column, create_engine, func, inspect, literal_column, select, table
from sqlalchemy.engine import URL, Engine, make_url
from sqlalchemy.exc import ArgumentError, SQLAlchemyError

from fastrec.artefacts import LOG_FILE, STATISTICS
from fastrec.files import FastrecError
from fastrec.run import Run

TABLE = "predictions"
COLUMNS = (
    *("id", "time", "image_id", "path", "predicted", "score", "scores", "bundle", "model_sha256"),
    *STATISTICS,
    *("milliseconds", "source", "code", "feedback", "feedback_time"),
)
NUMBERS = ("score", "milliseconds", *STATISTICS)
PASSWORD = "FASTREC_LOG_PASSWORD"  # the environment variable that holds it: a run's records must not
PATIENCE = 5.0  # seconds to wait while the service writes

_log = table(TABLE, *(column(name) for name in COLUMNS))


def default_url(run: Run) -> str:
    """Return the address of the run's own log."""
    return URL.create("sqlite", database=str(run.path(LOG_FILE))).render_as_string(hide_password=False)


def address(run: Run, log_url: str = "") -> str:
    """Return the address of the log to read: ``log_url``, or the run's own where that is empty.

    Raises
    ------
    FastrecError
        If it is no address, or holds a password.
    """
    if log_url:
        _address(log_url)
    return log_url or default_url(run)


def read(url: str, window: int | None = None) -> pd.DataFrame:
    """Read the latest requests, the oldest of them first.

    SQLite's rows are ordered as they were written, since a clock may jump back; other databases have
    ``time`` only.

    Parameters
    ----------
    url
        Such as ``sqlite:////folder/predictions.db``; a password comes from ``FASTREC_LOG_PASSWORD``.
    window
        At most so many rows; None takes all.

    Returns
    -------
    The columns of the log; ``time`` and ``feedback_time`` in UTC, ``scores`` as JSON text, ``code``
    null where the request was answered.  Without rows where the database is not there yet.

    Raises
    ------
    FastrecError
        If the address is not usable, or the database is locked, damaged or no log.
    """
    if window is not None and window < 1:
        raise FastrecError(f"window is {window}: take 1 row or more.")
    with _connect(url) as connection:
        rows = [] if connection is None else connection.execute(_latest(connection, window)).mappings().all()
    return _typed(pd.DataFrame([dict(row) for row in reversed(rows)], columns=list(COLUMNS)))


def _latest(connection: Connection, window: int | None) -> Select:
    written = literal_column("rowid") if connection.dialect.name == "sqlite" else _log.c.time
    return select(_log).order_by(written.desc(), _log.c.id.desc()).limit(window)


def fingerprint(url: str) -> str:
    """Return a text that changes when the log does; ``absent`` where there is no database."""
    counted = select(
        func.count(), func.max(_log.c.time), func.count(_log.c.feedback), func.max(_log.c.feedback_time)
    ).select_from(_log)
    with _connect(url) as connection:
        if connection is None:
            return "absent"
        rows, last, feedback, newest = connection.execute(counted).one()
    return f"{rows} rows to {last}, {feedback} feedback to {newest}"


@contextmanager
def _connect(url: str) -> Iterator[Connection | None]:
    """Yield a connection to the log, or None where there is no log yet; databases' errors in one sentence."""
    address = _address(url)
    shown = address.render_as_string(hide_password=True)
    try:
        engine = _engine(address)
        if engine is None:
            yield None
            return
        try:
            with engine.connect() as connection:
                yield connection if _has_log(connection, shown) else None
        finally:
            engine.dispose()
    except ModuleNotFoundError as error:
        raise FastrecError(f"log_url {shown} needs the driver {error.name}: pip install {error.name}.") from error
    except (SQLAlchemyError, sqlite3.Error, ValueError) as error:
        raise FastrecError(f"the log {shown} {_reason(error)}.") from error


def _address(url: str) -> URL:
    try:
        address = make_url(url)
    except (ArgumentError, ValueError) as error:
        raise FastrecError(
            f"log_url {url!r} is not a database address: write it like sqlite:////folder/predictions.db."
        ) from error
    if address.password or address.query.keys() & {"password", "passwd"}:
        raise FastrecError(
            "log_url holds a password, which the run's records would show: "
            f"leave it out there and set {PASSWORD} in the environment."
        )
    secret = os.environ.get(PASSWORD)
    return address.set(password=secret) if secret and address.username else address


def _engine(address: URL) -> Engine | None:
    """Make an engine; None for an SQLite file that is not there, which connecting would create."""
    if address.get_backend_name() != "sqlite":
        return create_engine(address)
    path = Path(address.database or "").resolve()
    if not path.is_file():
        return None
    place = f"file:{quote(str(path))}?mode=rw"  # rw, so that what a killed writer left is put right
    return create_engine("sqlite://", creator=lambda: sqlite3.connect(place, uri=True, timeout=PATIENCE))


def _has_log(connection: Connection, shown: str) -> bool:
    found = inspect(connection)
    if not found.has_table(TABLE):
        if found.get_table_names():
            raise FastrecError(f"the database {shown} has no table {TABLE!r}: name the service's log in log_url.")
        return False
    present = {entry["name"] for entry in found.get_columns(TABLE)}
    if missing := [name for name in COLUMNS if name not in present]:
        raise FastrecError(
            f"the log {shown} lacks the columns {', '.join(missing)}: move it away, the service starts a new one."
        )
    return True


def _reason(error: Exception) -> str:
    text = str(getattr(error, "orig", None) or error).splitlines()[0]
    if "locked" in text:
        return f"is locked by another process ({text}): wait until it has written, then run again"
    if "malformed" in text or "not a database" in text:
        return f"is damaged ({text}): move it away, the service starts a new one"
    return f"cannot be read ({text}): check the address and that the database runs"


def _typed(frame: pd.DataFrame) -> pd.DataFrame:
    for name in NUMBERS:
        frame[name] = pd.to_numeric(frame[name], errors="coerce")
    for name in ("time", "feedback_time"):
        frame[name] = pd.to_datetime(frame[name], utc=True, errors="coerce", format="ISO8601")
    frame["code"] = frame["code"].astype(object).where(frame["code"].notna() & (frame["code"] != ""), None)
    return frame
