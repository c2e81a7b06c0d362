"""``coco:``, ``coco-multi:``, ``coco-crop:`` with an annotations file: one label, several, or one crop per box."""

from __future__ import annotations

import json
import os
from collections import defaultdict
from pathlib import Path
from typing import Any, Literal

from fastrec.collect.sources import Item, Listing
from fastrec.collect.sources.folder import SPLIT_NAMES
from fastrec.files import FastrecError

Mode = Literal["single", "multi", "crop"]


def listing(annotations: Path, mode: Mode) -> Listing:
    """List what a COCO annotations file (https://cocodataset.org/#format-data) names.

    ``single`` takes the image's label if all its boxes agree and lists the others as problems, ``multi``
    takes all labels of an image, ``crop`` makes one item of each box, grouped by image, crowds left out.
    An image without annotations is a problem in every mode.

    Raises
    ------
    FastrecError
        If the file cannot be read, or an entry lacks a field or points to nothing: names it.
    """
    content = _read(annotations)
    try:
        names = {category["id"]: str(category["name"]) for category in content["categories"]}
        boxes = defaultdict(list)
        for entry in content["annotations"]:
            if not entry.get("iscrowd"):
                boxes[entry["image_id"]].append((names[entry["category_id"]], tuple(map(float, entry["bbox"]))))
        places = _Places(annotations)
        hint = _split_of(annotations.stem)
        items = [
            item
            for image in content["images"]
            for item in _items(str(places.find(str(image["file_name"]))), boxes[image["id"]], mode, hint)
        ]
    except (KeyError, TypeError, ValueError) as error:
        what = type(error).__name__ if not isinstance(error, KeyError) else f"no entry {error}"
        raise FastrecError(
            f"{annotations} is no COCO file ({what}): check its images, annotations, categories."
        ) from error
    classes = sorted({label for item in items for label in item.labels})
    return Listing(sorted(items, key=lambda item: (os.fsencode(item.file), item.box or ())), classes)


def _read(annotations: Path) -> dict[str, Any]:
    try:
        content = json.loads(annotations.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise FastrecError(f"{annotations} is not there: check the source's path.") from None
    except (OSError, ValueError) as error:
        raise FastrecError(f"{annotations} cannot be read as JSON ({error}): export it again.") from error
    if not isinstance(content, dict):
        raise FastrecError(f"{annotations} is no COCO file (no object at the top): check that it is the right file.")
    return content


def _items(file: str, found: list[tuple[str, tuple[float, ...]]], mode: Mode, hint: str | None) -> list[Item]:
    labels = tuple(sorted({label for label, _ in found}))
    if not labels:
        return [Item(file, problem=("no_label", "has no annotation: annotate it or leave it out"))]
    if mode == "crop":
        return [Item(file, (label,), Path(file).name, hint, box=box) for label, box in sorted(set(found))]
    if mode == "single" and len(labels) > 1:
        message = f"has {len(labels)} labels ({', '.join(labels)}): take coco-multi: or coco-crop:"
        return [Item(file, problem=("several_labels", message))]
    return [Item(file, labels, None, hint)]


def _split_of(stem: str) -> str | None:
    """Read the split from a file's name, such as ``instances_train2017``."""
    words = "".join(c if c.isalpha() else " " for c in stem.lower()).split()
    return next((SPLIT_NAMES[word] for word in words if word in SPLIT_NAMES), None)


class _Places:
    """Where the pictures of an annotations file may lie: beside it, in ``images``, or in a sibling folder."""

    def __init__(self, annotations: Path) -> None:
        base = annotations.parent
        self.root = base.parent.resolve()
        siblings = sorted(child for child in base.parent.iterdir() if child.is_dir() and child != base)
        self.folders = [base, base / "images", base.parent, *siblings]

    def find(self, name: str) -> Path:
        """Return the picture's path; where it is nowhere, a path beside the annotations that will be refused."""
        for folder in self.folders:
            path = folder / name
            if path.is_file() and path.resolve().is_relative_to(self.root):
                self.folders.remove(folder)
                self.folders.insert(0, folder)  # the next picture most likely lies there too
                return path
        return self.folders[0] / Path(name).name
