"""``coco:``, ``coco-multi:``, ``coco-crop:`` with an annotations file: one label, several, or one crop per box."""

from __future__ import annotations

import json
import os
import reprlib
from collections import defaultdict
from collections.abc import Callable, Collection
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal

from fastrec.collect.sources import Item, Listing
from fastrec.collect.sources.folder import SPLIT_NAMES
from fastrec.files import FastrecError

Mode = Literal["single", "multi", "crop"]
Found = list[tuple[str, tuple[float, ...]]]


def listing(annotations: Path, mode: Mode) -> Listing:
    """List what a COCO annotations file (https://cocodataset.org/#format-data) names.

    ``single`` takes the image's label if all its boxes agree and lists the others as problems, ``multi``
    takes all labels of an image, ``crop`` makes one item of each box, crowds left out.  An image without
    annotations is a problem in every mode, and so is one that is not there.

    A picture lies beside the file or in ``images``, else in a neighbouring folder, or one of ``images`` there,
    that is named as the file's split, else in a neighbour ``images``, else above or in any neighbour that is not
    named as another split.

    Raises
    ------
    FastrecError
        If the file cannot be read, an entry lacks a field or points to nothing (names it), or if a picture
        lies in two places of equal rank, or all of them in none.
    """
    content, hint = _read(annotations), _split_of(annotations.stem)
    labels = _named(annotations, content, "categories", lambda entry: _checked(str(entry["name"]), "strict"))
    images = _named(annotations, content, "images", lambda entry: _checked(str(entry["file_name"]), "surrogateescape"))
    boxes: dict[Any, Found] = defaultdict(list)

    def keep(entry: dict[str, Any]) -> None:
        if not entry.get("iscrowd"):
            for name, known in (("image_id", images), ("category_id", labels)):
                if entry[name] not in known:
                    raise ValueError(f"it points to {name} {entry[name]!r}, which is not listed")
            box = _box(entry["bbox"]) if mode == "crop" else ()
            boxes[entry["image_id"]].append((labels[entry["category_id"]], box))

    _each(annotations, content, "annotations", keep)
    places = _places(annotations, images.values(), hint)
    items = [item for key, name in images.items() for item in _items(*places[name], boxes[key], mode, hint)]
    classes = sorted({label for item in items for label in item.labels})
    return Listing(sorted(items, key=lambda item: (os.fsencode(item.file), item.box or ())), classes)


def _read(annotations: Path) -> dict[str, Any]:
    try:
        content = json.loads(annotations.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise FastrecError(f"{annotations} is not there: check the source's path.") from None
    except (OSError, ValueError, RecursionError) as error:
        raise FastrecError(f"{annotations} cannot be read as JSON ({error}): export it again.") from error
    if not isinstance(content, dict):
        raise FastrecError(f"{annotations} is no COCO file (no object at the top): check that it is the right file.")
    return content


def _each(annotations: Path, content: dict[str, Any], kind: str, read: Callable[[dict[str, Any]], None]) -> None:
    """Read each entry of a list; one that cannot be read is named."""
    if not isinstance(entries := content.get(kind), list):
        raise FastrecError(f"{annotations} is no COCO file (no list of {kind}): check that it is the right file.")
    for place, entry in enumerate(entries):
        try:
            if not isinstance(entry, dict):
                raise ValueError("it is no object")
            read(entry)
        except (KeyError, TypeError, ValueError) as error:
            what = f"it lacks {error}" if isinstance(error, KeyError) else error
            raise FastrecError(
                f"{annotations} has in {kind}[{place}] the entry {reprlib.repr(entry)} ({what}): mend it."
            ) from error


def _named(annotations: Path, content: dict[str, Any], kind: str, name: Callable[[Any], str]) -> dict[Any, str]:
    """Return the names in a list by the entries' ids."""
    names: dict[Any, str] = {}

    def keep(entry: dict[str, Any]) -> None:
        if entry["id"] in names:
            raise ValueError("another has its id")
        names[entry["id"]] = name(entry)

    _each(annotations, content, kind, keep)
    return names


def _checked(name: str, errors: str) -> str:
    name.encode("utf-8", errors)  # JSON can name halves of characters, which neither files nor tables can
    return name


def _box(given: Any) -> tuple[float, ...]:
    try:
        left, top, width, height = map(float, given)
    except (TypeError, ValueError, OverflowError):
        raise ValueError("its bbox is not four numbers") from None
    return left, top, width, height


def _items(file: str, there: bool, found: Found, mode: Mode, hint: str | None) -> list[Item]:
    labels = tuple(sorted({label for label, _ in found}))
    if not labels:
        return [Item(file, problem=("no_label", "has no annotation: annotate it or leave it out"))]
    if not there:
        message = "is not there, nor in a folder near it: put it there, or mend its file_name"
        return [Item(file, labels, problem=("unreadable", message))]
    if mode == "crop":
        return [Item(file, (label,), None, hint, box) for label, box in sorted(set(found))]
    if mode == "single" and len(labels) > 1:
        message = f"has {len(labels)} labels ({', '.join(labels)}): take coco-multi: or coco-crop:"
        return [Item(file, problem=("several_labels", message))]
    return [Item(file, labels, None, hint)]


def _split_of(stem: str) -> str | None:
    """Read the split from a file's name, such as ``instances_train2017``."""
    words = "".join(c if c.isalpha() else " " for c in stem.lower()).split()
    return next((SPLIT_NAMES[word] for word in words if word in SPLIT_NAMES), None)


def _places(annotations: Path, names: Collection[str], hint: str | None) -> dict[str, tuple[str, bool]]:
    """Return where each picture lies, and whether it does: in the nearest folder that holds it."""
    root = annotations.parent.parent.resolve()  # nothing outside is taken, whatever the name
    levels = _folders(annotations, hint)
    found = {name: next(filter(None, (_find(name, level, root) for level in levels)), None) for name in names}
    beside = [Path(str(path).removesuffix(name)) for name, path in found.items() if path]
    if beside or not names:
        return {name: (str(path or beside[0] / name), path is not None) for name, path in found.items()}
    raise FastrecError(
        f"{annotations} names pictures, such as {next(iter(names))!r}, but none lies beside it, or in a folder near it "
        "that is not named as another split: put them there."
    )


def _folders(annotations: Path, hint: str | None) -> list[list[Path]]:
    base = annotations.parent
    near: list[Path] = []
    for above in (base.parent, base.parent / "images"):
        with suppress(OSError):  # it may belong to others, or be none
            near += sorted(child for child in above.iterdir() if child.is_dir() and child != base)
    split = {child: hint and _split_of(child.name) for child in near}
    own = [child for child in near if hint and split[child] == hint]
    return [
        [base, base / "images"],
        own,
        [base.parent / "images"],
        [base.parent, *(child for child in near if not split[child])],
    ]


def _find(name: str, folders: list[Path], root: Path) -> Path | None:
    paths = [folder / name for folder in folders]
    found = {path.resolve(): path for path in paths if os.path.isfile(path)}  # noqa: PTH113 (bears any name)
    inside = [path for real, path in found.items() if real.is_relative_to(root)]
    if len(inside) > 1:
        raise FastrecError(
            f"{name!r} may be {inside[0]} or {inside[1]}: write the folder into each file_name of the annotations."
        )
    return inside[0] if inside else None
