"""``folder:PATH``: one folder per class, below ``train``, ``valid`` and ``test`` folders if there are such."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from fastrec.collect.sources import Item, Listing
from fastrec.files import FastrecError

SPLIT_NAMES = {
    "train": "train",
    "training": "train",
    "valid": "valid",
    "val": "valid",
    "validation": "valid",
    "test": "test",
    "testing": "test",
}
HIDDEN = (".", "__MACOSX")  # how names begin that are no class; macOS packs notes on files below the latter
_NOT_PICTURES = {".txt", ".md", ".csv", ".tsv", ".json", ".xml", ".yaml", ".yml", ".html", ".pdf", ".zip", ".py"}


def listing(root: Path) -> Listing:
    """List the pictures of class folders; links are listed as problems and never followed.

    The label is the first folder below the root, or below the split's folder.  Hidden files, files that
    lie outside any class, files whose extension says that they are no picture and folders that cannot be
    read become problems too.

    Raises
    ------
    FastrecError
        If the root is not there, or it, a split's or a class's folder cannot be read: names it.
    """
    if not os.path.isdir(root):  # noqa: PTH112 (never fails)
        raise FastrecError(f"folder {root} is not there: check the source's path.")
    classes: set[str] = set()
    items: list[Item] = []
    parents = _split_parents(root)
    for base, split in parents.items():
        classes |= {child.name for child in _folders(base) if child not in parents}
        items += _items(base, split, {os.fspath(parent) for parent in parents if parent != base})
    return Listing(sorted(items, key=lambda item: os.fsencode(item.file)), sorted(classes))


def _folders(base: Path) -> list[Path]:
    with suppress(OSError), os.scandir(base) as entries:
        found = [entry for entry in entries if entry.is_dir(follow_symlinks=False)]
        return [base / entry.name for entry in found if not entry.name.startswith(HIDDEN)]
    return []  # who lists its files names it


def _split_parents(root: Path) -> dict[Path, str | None]:
    """Find split folders: each child is named as a split, or the root itself holds the classes."""
    splits = {child: SPLIT_NAMES[child.name.lower()] for child in _folders(root) if child.name.lower() in SPLIT_NAMES}
    return {root: None, **splits} if splits and any(_folders(child) for child in splits) else {root: None}


def _files(base: Path, not_below: set[str]) -> Iterator[tuple[Path, list[os.DirEntry[str]], str | None]]:
    """Yield each folder with what lies in it and is no folder, and why it could not be read or nothing."""
    folders = [os.fspath(base)]
    while folders:
        here, files, fault = folders.pop(), [], None
        try:
            with os.scandir(here) as entries:
                for entry in entries:
                    if not entry.is_dir(follow_symlinks=False):
                        files.append(entry)
                    elif entry.path not in not_below:
                        folders.append(entry.path)
        except OSError as error:
            fault = error.strerror
        yield Path(here), files, fault


def _items(base: Path, split: str | None, not_below: set[str]) -> Iterator[Item]:
    for folder, files, fault in _files(base, not_below):
        below = folder.relative_to(base).parts
        if fault and len(below) < 2 and not folder.name.startswith(HIDDEN):
            raise FastrecError(f"folder {folder} cannot be read ({fault}): check its mode, or take it away.")
        if fault:
            why = ("unreadable", f"is a folder that cannot be read ({fault}): check its mode, or take it away")
            yield Item(str(folder), split_hint=split, problem=why)
        for entry in files:
            problem = _problem(entry.name, below, entry.is_symlink())
            yield Item(entry.path, () if problem else below[:1], split_hint=split, problem=problem)


def _problem(name: str, below: tuple[str, ...], linked: bool) -> tuple[str, str] | None:
    """Say why a file in the folder ``below`` the root is not taken, or nothing."""
    if any(part.startswith(HIDDEN) for part in (*below, name)):
        return ("hidden", "is hidden: rename it if it is a picture")
    if linked:
        return ("link", "is a symbolic link, which is not followed: put the picture itself there")
    suffix = "".join(name.rpartition(".")[1:])
    if suffix.lower() in _NOT_PICTURES:
        return ("not_a_picture", f"ends in {suffix}: keep other files outside the class folders")
    if not below:
        return ("no_label", "lies in no class folder: move it into one")
    return None
