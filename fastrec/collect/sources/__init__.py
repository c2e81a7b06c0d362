"""Where pictures come from: one small file per family behind one door, ``items(source)``.

A source is text: ``digits``, ``folder:PATH`` or ``csv:PATH``.  A relative path starts at the home
folder.
"""

from __future__ import annotations

import difflib
import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from fastrec.files import FastrecError
from fastrec.run import home


@dataclass(frozen=True)
class Item:
    """One picture that a source names; ``problem`` (code, message) says why it cannot even be opened."""

    path: Path
    labels: tuple[str, ...] = ()
    group: str | None = None
    split_hint: str | None = None
    problem: tuple[str, str] | None = None


@dataclass(frozen=True)
class Listing:
    """What a source holds: its items sorted by path, and the classes it announces."""

    items: list[Item]
    classes: list[str]


def _digits(_path: str) -> Listing:
    from fastrec.collect.sources import digits

    return digits.listing(home() / "data" / "digits")


def _folder(path: str) -> Listing:
    from fastrec.collect.sources import folder

    return folder.listing(_place(path))


def _csv(path: str) -> Listing:
    from fastrec.collect.sources import csv

    return csv.listing(_place(path))


_FAMILIES: dict[str, Callable[[str], Listing]] = {"digits": _digits, "folder": _folder, "csv": _csv}


def _place(path: str) -> Path:
    if not path:
        raise FastrecError("source names no path: write folder:PATH or csv:PATH.")
    return home() / Path(path).expanduser()


def listing(source: str) -> Listing:
    """List what a source holds, without opening a picture.

    Raises
    ------
    FastrecError
        If the source is unknown, is not there, or holds no images, a class without any, or one class.
    """
    family, _, path = source.partition(":")
    if family not in _FAMILIES:
        near = difflib.get_close_matches(family, _FAMILIES, n=1)
        known = "digits, folder:PATH, csv:PATH"
        raise FastrecError(f"source {source!r} is unknown: take {near[0] + ' or ' if near else ''}one of {known}.")
    found = _FAMILIES[family](path)
    _check(found, source)
    return found


def _check(found: Listing, source: str) -> None:
    counts = {name: 0 for name in found.classes}
    for item in found.items:
        for label in item.labels:
            counts[label] = counts.get(label, 0) + 1
    if not any(counts.values()):
        raise FastrecError(f"no images under {source}: put pictures into one folder per class there.")
    if empty := sorted(name for name, count in counts.items() if count == 0):
        raise FastrecError(f"class {empty[0]!r} of {source} has 0 images: add some, or remove the class.")
    if len(counts) == 1:
        raise FastrecError(f"{source} has one class only ({next(iter(counts))!r}): a classifier needs at least two.")


def fingerprint(source: str) -> str:
    """Return a checksum over names, labels, sizes and times of a source's files: changes when any of them does."""
    digest = hashlib.sha256()
    for item in listing(source).items:
        try:
            status = item.path.lstat()
            state = f"{status.st_size}\0{status.st_mtime_ns}"
        except OSError:
            state = "absent"
        line = f"{item.path}\0{item.labels}\0{item.group}\0{item.split_hint}\0{state}\n"
        digest.update(line.encode("utf-8", "surrogateescape"))
    return digest.hexdigest()
