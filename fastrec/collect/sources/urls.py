"""``urls:PATH``: a table with url and label (perhaps sha256, split, group), downloaded below ``data/urls``."""

from __future__ import annotations

import csv
import hashlib
import os
import re
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

from fastrec import engine, files
from fastrec.collect.sources import Item, Listing
from fastrec.collect.sources.table import read_rows
from fastrec.files import FastrecError
from fastrec.images import MAX_BYTES

MOST_FAILURES = 0.05  # above this share the list itself is suspect
CONNECTIONS = 8
LONGEST_PAUSE = 5  # seconds between two tries, whatever a server asks for


def listing(table: Path, below: Path) -> Listing:
    """Download what is not yet there and list it; a download that failed is listed with its reason.

    Each is tried three times with growing pauses of a few seconds at most.  What a server sends in place
    of a picture, a page that says "not found", is kept from the data by the decoder later.

    Raises
    ------
    FastrecError
        If an address comes twice with different entries, or if more than 5 % of the downloads failed: names
        the first with its reason, and the table of all.
    """
    rows = _rows(table)
    with ThreadPoolExecutor(CONNECTIONS) as pool:
        fetched = pool.map(lambda row: _fetch(row, below), rows)
        items = list(engine.progress(fetched, len(rows), "download", unit="file"))
    failed = [(row["url"], item.problem[1]) for row, item in zip(rows, items, strict=True) if item.problem]
    told = _told(failed, below / f"{table.stem}.failures.csv")
    if len(failed) > MOST_FAILURES * len(items):
        raise FastrecError(
            f"{len(failed)} of {len(items)} downloads of {table} failed, the first {failed[0][1]}: mend or remove "
            f"these rows, all are listed in {told}."
        )
    classes = sorted({label for item in items for label in item.labels})
    return Listing(sorted(items, key=lambda item: os.fsencode(item.file)), classes)


def _rows(table: Path) -> list[dict[str, Any]]:
    rows: dict[str, dict[str, Any]] = {}
    for row in read_rows(table, "url"):
        if rows.setdefault(row["url"], row) != row:
            raise FastrecError(f"{table} names {row['url']} twice with different entries: keep one row per address.")
    return list(rows.values())


def _told(failed: list[tuple[str, str]], path: Path) -> Path:
    """Write the table of what failed, or remove that of an earlier try."""
    if failed:
        with files.replacing(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as stream:
            csv.writer(stream).writerows([("url", "reason"), *failed])
    else:
        path.unlink(missing_ok=True)
    return path


def present(table: Path, below: Path) -> Listing:
    """List the table, and where the picture of each row lies or would lie, without fetching any."""
    return Listing([Item(str(table)), *(_item(row, below) for row in _rows(table))], [])


def _item(row: dict[str, Any], below: Path) -> Item:
    last = re.split("[?#]", row["url"], maxsplit=1)[0].rpartition("/")[2]  # the query of a signed address is no part
    name = f"{hashlib.sha256(row['url'].encode()).hexdigest()[:16]}-{re.sub(r'[^A-Za-z0-9._-]+', '_', last)[-80:]}"
    return Item(str(below / name), row["labels"], row["group"], row["split"])


def _fetch(row: dict[str, Any], below: Path) -> Item:
    item = _item(row, below)
    if item.path.is_file() and _expected(item.path, row):
        return item
    problem = _download(row["url"], item.path, row)
    return replace(item, labels=(), problem=problem) if problem else item


def _expected(path: Path, row: dict[str, Any]) -> bool:
    wanted = row["sha256"].lower()
    return not wanted or files.checksum(path) == wanted


def _download(url: str, path: Path, row: dict[str, Any]) -> tuple[str, str] | None:
    """Return None when the file is there, else a code and what happened."""
    import urllib3

    if not url.lower().startswith(("http://", "https://")):
        return ("download_failed", f"has the address {url}: only http and https are fetched")
    busy = (429, 500, 502, 503, 504)
    retries = urllib3.Retry(2, backoff_factor=0.5, status_forcelist=busy, retry_after_max=LONGEST_PAUSE)
    try:
        with (
            urllib3.PoolManager(retries=retries, timeout=urllib3.Timeout(connect=10, read=30)) as manager,
            files.replacing(path) as temporary,
        ):
            answer = manager.request("GET", url, preload_content=False)
            if answer.status != 200:
                raise _Failed(f"could not be fetched from {url} (status {answer.status})")
            _receive(answer, temporary, url)
            if not _expected(temporary, row):
                raise _Failed(f"from {url} has another sha256 than the table says")
    except _Failed as error:
        return ("download_failed", str(error))
    except urllib3.exceptions.ProtocolError:
        return ("download_failed", f"from {url} was cut short: run again")
    except (urllib3.exceptions.HTTPError, OSError, ValueError) as error:  # the latter of what is no address
        return ("download_failed", f"could not be fetched from {url} ({type(error).__name__}): check the address")
    return None


class _Failed(Exception):
    """A download that ended with an answer, but not with the picture."""


def _receive(answer: object, path: Path, url: str) -> None:
    received = 0
    with path.open("wb") as sink:
        for block in answer.stream(2**16):  # type: ignore[attr-defined]
            received += len(block)
            if received > MAX_BYTES:
                raise _Failed(f"from {url} is longer than {MAX_BYTES} bytes")
            sink.write(block)
