"""What waits for a decision by hand: issues with their pictures, their labels and the labels that fit better."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from fastrec import images, labels
from fastrec.artefacts import FOLDS, REJECTED
from fastrec.collect import label_errors
from fastrec.collect.look import identity
from fastrec.collect.sources import Item
from fastrec.run import Run

CONFLICT = "label_conflict"
FIRST = (CONFLICT, "near_copy_two_labels", label_errors.ISSUE)  # what harms most
LAST = ("near_copy", "mended")  # what is handled well without a decision


@dataclass(frozen=True)
class Case:
    """One issue to decide on: a picture, or a pair of near copies."""

    kind: str
    message: str
    image_ids: tuple[str, ...]
    places: tuple[tuple[str, Any], ...]  # path and box of each picture
    given: tuple[tuple[str, ...], ...]  # its labels
    suggested: tuple[tuple[str, ...], ...] = ()  # labels that one button gives to all of its pictures


def of_run(run: Run, manifest: pd.DataFrame, quality: pd.DataFrame, items: Sequence[Item] = ()) -> list[Case]:
    """Return every issue of QUALITY that is about pictures, and the pictures refused for having two labels.

    Parameters
    ----------
    run
        Where the pictures lie.
    manifest, quality
        The tables MANIFEST and QUALITY.
    items
        What the source listed: the contradicting labels, which are in neither table, are found there.
    """
    found = [*_conflicts(run, items), *_of_quality(run, manifest, quality)]
    return sorted(found, key=lambda case: _rank(case.kind))  # stable: within a kind the order of the tables


def _rank(kind: str) -> tuple[int, int, str]:
    if kind in FIRST:
        return 0, FIRST.index(kind), kind
    return (2, LAST.index(kind), kind) if kind in LAST else (1, 0, kind)


def _of_quality(run: Run, manifest: pd.DataFrame, quality: pd.DataFrame) -> Iterator[Case]:
    facts = {row.image_id: row for row in manifest[["image_id", "path", "box", "labels"]].itertuples()}
    predicted = _predicted(run, {name for names in manifest["labels"] for name in names})
    for row in quality.itertuples():
        names = tuple(name for name in (row.image_id, row.other_id) if isinstance(name, str))
        if not names or not all(name in facts for name in names):
            continue  # about a class or the whole set, or about a picture that is gone
        rows: list[Any] = [facts[name] for name in names]
        given = tuple(tuple(row.labels) for row in rows)
        suggested = tuple(dict.fromkeys(given)) if len(set(given)) > 1 else ()
        if row.issue == label_errors.ISSUE and names[0] in predicted:
            suggested = (tuple(predicted[names[0]]),)
        yield Case(str(row.issue), str(row.message), names, tuple((r.path, r.box) for r in rows), given, suggested)


def _predicted(run: Run, classes: Collection[str]) -> dict[str, list[str]]:
    aside = Run(run.name)  # read without being recorded as an input, see `label_errors.of_run`
    if not aside.has(FOLDS):
        return {}
    table = aside.read(FOLDS)
    names = [[text] if text in classes else labels.split(text) for text in table["predicted"]]
    return dict(zip(table["image_id"], names, strict=True))


def _conflicts(run: Run, items: Sequence[Item]) -> Iterator[Case]:
    """Find the contents that the source gives two labels: of several files with them the first by path is shown."""
    aside = Run(run.name)
    rejected = aside.read(REJECTED) if items and aside.has(REJECTED) else pd.DataFrame(columns=REJECTED.schema.names)
    refused = rejected[rejected["code"] == CONFLICT].set_index("path")["message"].to_dict()
    by_content: dict[str, list[Item]] = {}
    for item in items:
        if run.shorten(item.path) in refused:
            try:
                name = identity(images.read_bytes(item.path), item.box)
            except images.ImageError:
                continue  # it changed since it was collected
            by_content.setdefault(name, []).append(item)
    for name, same in by_content.items():
        path = run.shorten(same[0].path)
        both = tuple(sorted({item.labels for item in same}))
        yield Case(CONFLICT, refused[path], (name,), ((path, same[0].box),), (), both)


def is_open(case: Case, actions: Mapping[str, str]) -> bool:
    """Say whether a case waits for a decision: none of its pictures is dropped, and not all are decided on."""
    made = [actions.get(name) for name in case.image_ids]
    return "drop" not in made and not all(made)
