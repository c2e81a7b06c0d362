"""``folder:PATH``: one folder per class, below ``train``, ``valid`` and ``test`` folders if there are such."""

from __future__ import annotations

import os
from collections.abc import Iterator
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
_NOT_PICTURES = {".txt", ".md", ".csv", ".tsv", ".json", ".xml", ".yaml", ".yml", ".html", ".pdf", ".zip", ".py"}


def listing(root: Path) -> Listing:
    """List the pictures of class folders; links are listed as problems and never followed.

    The label is the first folder below the root, or below the split's folder.  Hidden files, files that
    lie outside any class and files whose extension says that they are no picture become problems too.
    """
    if not root.is_dir():
        raise FastrecError(f"folder {root} is not there: check the source's path.")
    classes: set[str] = set()
    items: list[Item] = []
    parents = _split_parents(root)
    for base, split in parents.items():
        classes |= {child.name for child in _folders(base) if child not in parents}
        items += [_item(path, base, split) for path in _files(base, set(parents) - {base})]
    return Listing(sorted(items, key=lambda item: os.fsencode(item.path)), sorted(classes))


def _folders(base: Path) -> list[Path]:
    return [child for child in base.iterdir() if child.is_dir() and not child.is_symlink() and child.name[0] != "."]


def _split_parents(root: Path) -> dict[Path, str | None]:
    """Find split folders: each child is named as a split, or the root itself holds the classes."""
    splits = {child: SPLIT_NAMES[child.name.lower()] for child in _folders(root) if child.name.lower() in SPLIT_NAMES}
    return {root: None, **splits} if splits and any(_folders(child) for child in splits) else {root: None}


def _files(base: Path, not_below: set[Path]) -> Iterator[Path]:
    for folder, subfolders, names in os.walk(base):
        here = Path(folder)
        linked = [name for name in subfolders if (here / name).is_symlink()]
        subfolders[:] = sorted({name for name in subfolders if here / name not in not_below} - set(linked))
        yield from (here / name for name in [*names, *linked])


def _item(path: Path, base: Path, split: str | None) -> Item:
    below = path.relative_to(base).parts
    problem = None
    if any(part.startswith(".") for part in below):
        problem = ("hidden", "is hidden: rename it if it is a picture")
    elif path.is_symlink():
        problem = ("link", "is a symbolic link, which is not followed: put the picture itself there")
    elif path.suffix.lower() in _NOT_PICTURES:
        problem = ("not_a_picture", f"ends in {path.suffix}: keep other files outside the class folders")
    elif len(below) < 2:
        problem = ("no_label", "lies in no class folder: move it into one")
    labels = () if problem or len(below) < 2 else (below[0],)
    return Item(path, labels, split_hint=split, problem=problem)
