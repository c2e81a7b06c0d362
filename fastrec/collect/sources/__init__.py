"""Where pictures come from: one small file per family behind one door, ``listing(source)``.

A source is text, ``family:place``; several are given as a list.  A relative path starts at the home folder.

    digits                                  built in
    folder:PATH                             one folder per class
    csv:PATH  parquet:PATH  urls:PATH       a table of paths or addresses and labels
    coco:PATH  coco-multi:PATH  coco-crop:PATH
    archive:PATH                            a zip or tar file of class folders
    fastai:NAME  torchvision:NAME  hf:OWNER/NAME[/CONFIGURATION]
"""

from __future__ import annotations

import difflib
import hashlib
import os
import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from fastrec import engine
from fastrec.files import FastrecError
from fastrec.run import home

FAMILIES = (
    *("digits", "folder", "csv", "parquet", "coco", "coco-multi", "coco-crop"),
    *("archive", "urls", "fastai", "torchvision", "hf"),
)
_SUFFIXES = {".csv": "csv", ".parquet": "parquet", ".json": "coco"}


@dataclass(frozen=True, slots=True)
class Item:
    """One picture, or one box of it, that a source names.

    Attributes
    ----------
    file
        Its whole name, as text: as a path it would take five times the memory.
    box
        Left, top, width and height in pixels of the upright picture; None for all of it.
    problem
        A code and the rest of a sentence that begins with the path: why it cannot be taken.
    source
        The text that named it; filled in by :func:`listing`.
    """

    file: str
    labels: tuple[str, ...] = ()
    group: str | None = None
    split_hint: str | None = None
    box: tuple[float, ...] | None = None
    problem: tuple[str, str] | None = None
    source: str = ""

    @property
    def path(self) -> Path:
        """Where it lies."""
        return Path(self.file)


@dataclass(frozen=True)
class Listing:
    """What a source holds: its items sorted by path, and the classes it announces."""

    items: list[Item]
    classes: list[str]


@engine.without_garbage_collection()
def listing(source: str | Sequence[str], label_map: Sequence[str] = (), group_by: str | None = None) -> Listing:
    """List what one source holds, or several together, without opening a picture.

    Parameters
    ----------
    source
        One, or a list of them.
    label_map
        Entries ``old=new`` rename and merge classes, ``old=`` drops one.
    group_by
        A regular expression that is searched in each path as the manifest shows it: its first group, or
        the whole match, names the picture's group, such as the patient in ``([^/]+)_[^/]*$``.  Where it does
        not match, the group that the source gave stays.

    Raises
    ------
    FastrecError
        If a source is unknown or not there, holds no images or a class without any, if there is one
        class only, or if ``group_by`` is no pattern or matches no path.
    """
    engine.start(engine.PAYS * engine.workers())  # who will decode what is listed loads meanwhile
    sources = [source] if isinstance(source, str) else list(source)
    opened = [_open(one) for one in sources]
    renamed = _renamed(label_map, {name for one in opened for name in one.classes})
    found = [_map_labels(one, source, renamed) for one, source in zip(opened, sources, strict=True)]
    both = Listing(
        [item for one in found for item in one.items], sorted({name for one in found for name in one.classes})
    )
    _check(both, " + ".join(sources))
    return both if group_by is None else replace(both, items=_grouped(both.items, group_by))


def _grouped(items: list[Item], group_by: str) -> list[Item]:
    try:
        pattern = re.compile(group_by)
    except re.error as error:
        raise FastrecError(f"group_by {group_by!r} is no regular expression ({error}): mend it there.") from error
    groups = [None if item.problem else _group(item, pattern) for item in items]
    if not any(groups):
        example = _shown(next(item for item in items if not item.problem))
        raise FastrecError(f"group_by {group_by!r} matches no path, such as {example!r}: mend it, or leave it out.")
    return [replace(item, group=group or item.group) for item, group in zip(items, groups, strict=True)]


def _group(item: Item, pattern: re.Pattern[str]) -> str | None:
    match = pattern.search(_shown(item))
    return (match[1] if pattern.groups else match[0]) if match else None


def _shown(item: Item) -> str:
    """Return an item's path as the manifest shows it; of a name that is not UTF-8, with its odd bytes replaced."""
    path = item.path.relative_to(home()) if item.path.is_relative_to(home()) else item.path
    return os.fsencode(path).decode(errors="replace")


def _open(source: str, present: bool = False) -> Listing:
    family, _, place = source.partition(":")
    if family not in FAMILIES:
        near = _of_file(source) or difflib.get_close_matches(family, FAMILIES, n=1)
        hint = f"did you mean {near[0]}? " if near else ""
        raise FastrecError(f"source {source!r} is unknown: {hint}The families are {', '.join(FAMILIES)}.")
    if not place and family != "digits":
        raise FastrecError(f"source {source!r} names no path: write {family}:PATH.")
    return _present(family, place) if present else _family(family, place)


def _of_file(place: str) -> list[str]:
    """Return how a file or folder that is there is written as a source."""
    with suppress(OSError, RuntimeError, ValueError):  # too long, of nobody, or with a zero
        path = home() / Path(place).expanduser()
        if place and path.is_dir():
            return [f"folder:{place}"]
        if path.is_file():
            return [f"{_SUFFIXES.get(path.suffix, 'archive')}:{place}"]
    return []


def _family(family: str, place: str) -> Listing:
    """Call the family's file, imported only now: some of them bring heavy libraries."""
    from fastrec.collect.sources import archive, coco, digits, folder, named, table, urls

    path, data = home() / Path(place).expanduser(), home() / "data"
    match family:
        case "digits":
            return digits.listing(data / "digits")
        case "folder":
            return folder.listing(path)
        case "csv" | "parquet":
            return table.listing(path)
        case "archive":
            return archive.listing(path, data / "archives")
        case "urls":
            return urls.listing(path, data / "urls")
        case "fastai":
            return named.fastai(place, data / "fastai")
        case "torchvision":
            return named.torchvision(place, data / "torchvision")
        case "hf":
            return named.hugging_face(place, data / "hf")
        case "coco-multi":
            return coco.listing(path, "multi")
        case "coco-crop":
            return coco.listing(path, "crop")
        case _:
            return coco.listing(path, "single")


def _renamed(label_map: Sequence[str], classes: set[str]) -> dict[str, str]:
    """Read the entries ``old=new``; an old name that no source has is a slip of the pen."""
    renamed: dict[str, str] = {}
    for entry in label_map:
        old, equals, new = entry.partition("=")
        if not equals:
            raise FastrecError(f"label_map has the entry {entry!r}: write old=new, or old= to drop a class.")
        if old not in classes:
            near = difflib.get_close_matches(old, sorted(classes), n=1) or sorted(classes)[:3]
            raise FastrecError(f"label_map renames {old!r}, which no source has: did you mean {', '.join(near)}?")
        renamed[old] = new.strip()
    return renamed


def _map_labels(found: Listing, source: str, renamed: dict[str, str]) -> Listing:
    items, new = [], dict[tuple[str, ...], tuple[str, ...]]()
    for item in found.items:
        if (labels := new.get(item.labels)) is None:
            labels = new[item.labels] = _mapped(item.labels, renamed)
        dropped = ("dropped_class", f"has only classes that label_map drops ({', '.join(item.labels)})")
        problem = item.problem or (dropped if item.labels and not labels else None)
        items.append(Item(item.file, labels, item.group, item.split_hint, item.box, problem, source))
    return Listing(items, sorted({renamed.get(name, name) for name in found.classes} - {""}))


def map_labels(names: Iterable[str], label_map: Sequence[str], classes: Collection[str] = ()) -> list[str]:
    """Return labels as ``label_map`` renames, merges and drops them, but for those that are ``classes`` already."""
    entries = (entry.partition("=") for entry in label_map)
    return list(_mapped(names, {old: new.strip() for old, _, new in entries if old not in classes}))


def _mapped(names: Iterable[str], renamed: Mapping[str, str]) -> tuple[str, ...]:
    return tuple(sorted({renamed.get(name, name) for name in names} - {""}))


def _check(found: Listing, source: str) -> None:
    counts = Counter(dict.fromkeys(found.classes, 0))
    counts.update(label for item in found.items for label in item.labels)
    if not any(counts.values()):
        raise FastrecError(f"no images under {source}: put pictures into one folder per class there.")
    if odd := [name for name in counts if any("\ud800" <= letter <= "\udfff" for letter in name)]:
        raise FastrecError(f"class {os.fsencode(odd[0])!r} of {source} is not UTF-8: rename its folder.")
    if empty := sorted(name for name, count in counts.items() if count == 0):
        raise FastrecError(f"class {empty[0]!r} of {source} has 0 images: add some, or remove the class.")
    if len(counts) == 1:
        raise FastrecError(f"{source} has one class only ({next(iter(counts))!r}): a classifier needs at least two.")


def fingerprint(source: str) -> str:
    """Return a checksum over names, labels, sizes and times of a source's files: changes when any of them does.

    Nothing is fetched or unpacked for it: what is not on the disk counts as absent.
    """
    digest = hashlib.sha256()
    for item in _open(source, present=True).items:
        try:
            status = item.path.lstat()
            state = f"{status.st_size}\0{status.st_mtime_ns}"
        except (OSError, ValueError):  # the latter of a zero byte in the name
            state = "absent"
        line = f"{item.file}\0{item.labels}\0{item.group}\0{item.split_hint}\0{item.box}\0{state}\n"
        digest.update(line.encode("utf-8", "surrogateescape"))
    return digest.hexdigest()


def _present(family: str, place: str) -> Listing:
    """List what of a source is on the disk."""
    from fastrec.collect.sources import archive, urls

    path, data = home() / Path(place).expanduser(), home() / "data"
    if family == "archive":
        return archive.present(path, data / "archives")
    if family == "urls":
        return urls.present(path, data / "urls")
    made = family in ("digits", "fastai", "torchvision", "hf")
    if made and not (data / family / place.replace("/", "--")).is_dir():
        return Listing([], [])
    return _family(family, place)


def fingerprints(source: str | Sequence[str]) -> dict[str, str]:
    """Return the fingerprint of each source by its text."""
    return {one: fingerprint(one) for one in ([source] if isinstance(source, str) else source)}
