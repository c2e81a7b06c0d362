"""Find the licence of a source: what it says of itself, or an honest "unknown"."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from fastrec.run import home

UNKNOWN = ("unknown: ask the source", "nothing beside the pictures says")
_BUILT_IN = {
    "digits": ("CC BY 4.0 (Alpaydin and Kaynak 1998, https://doi.org/10.24432/C50P49)", "the set's own page"),
}
_BY_NAME = ("fastai", "torchvision", "hf")  # fetched below data, each into a folder of its own
_LICENCE = re.compile(r"(licen[cs]e|copying)(\.\w+)?", re.IGNORECASE)
_README = re.compile(r"read-?me(\.\w+)*", re.IGNORECASE)
_SAYS = re.compile(r"\blicen[cs]ed?\b", re.IGNORECASE)
_LONGEST = 160  # letters of a licence that a card shows
_MOST = 2**16  # bytes of a text that are read


def find(source: str, pictures: Sequence[Path]) -> tuple[str, str]:
    """Return the licence of a source in one line, and where it says so.

    Looked for in the annotations themselves (COCO), then in files called LICENSE or COPYING, then in a line of
    a README that speaks of a licence: in the source's own folder, then in the one that holds all its pictures
    and, of a set fetched by name, in those between.  What lies in the home folder is the project's own.
    """
    family, _, place = source.partition(":")
    if family in _BUILT_IN:
        return _BUILT_IN[family]
    fetched = home() / "data" / family / place.replace("/", "--")
    named = fetched if family in _BY_NAME else home() / Path(place).expanduser()
    if family.startswith("coco") and (found := _of_annotations(named)):
        return found, named.name
    for folder in _folders(named, pictures):
        if home().is_relative_to(folder):
            continue
        for pattern, read in ((_LICENCE, _first_line), (_README, _line_about_it)):
            for path in _files(folder, pattern):
                if found := read(path):
                    return found, path.name
    return UNKNOWN


def _folders(named: Path, pictures: Sequence[Path]) -> Iterator[Path]:
    yield named if named.is_dir() else named.parent
    if pictures:
        common = Path(os.path.commonpath([path.parent for path in pictures]))
        yield common
        yield from (parent for parent in common.parents if parent != named and parent.is_relative_to(named))


def _files(folder: Path, pattern: re.Pattern[str]) -> list[Path]:
    if not folder.is_dir():
        return []
    return sorted(path for path in folder.iterdir() if pattern.fullmatch(path.name) and path.is_file())


def _text(path: Path) -> list[str]:
    try:
        with path.open("rb") as stream:
            return stream.read(_MOST).decode("utf-8", "replace").splitlines()
    except OSError:
        return []


def _first_line(path: Path) -> str:
    return _short(next((line for line in _text(path) if line.strip()), ""))


def _line_about_it(path: Path) -> str:
    """Return the first line with the word in it; of a bare heading, the line that follows too."""
    lines = [line.strip() for line in _text(path) if line.strip()]
    for line, following in zip(lines, [*lines[1:], ""], strict=True):
        if _SAYS.search(line):
            bare = len(line.strip("#*=- ").split()) == 1
            return _short(following if bare else line)
    return ""


def _of_annotations(path: Path) -> str:
    try:
        listed: Any = json.loads(path.read_bytes()).get("licenses") or []
        told = [" ".join(str(one.get(key) or "") for key in ("name", "url")).strip() for one in listed]
    except (OSError, ValueError, AttributeError, TypeError):
        return ""
    return _short("; ".join(dict.fromkeys(text for text in told if text)))


def _short(text: str) -> str:
    shown = " ".join(text.strip("#*=-> \t").split())
    return shown if len(shown) <= _LONGEST else shown[: _LONGEST - 1] + "…"
