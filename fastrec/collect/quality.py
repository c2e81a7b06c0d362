"""Judge a data set: what looks wrong with its pictures, labels and counts, as one table of issues."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd

from fastrec.artefacts import QUALITY
from fastrec.collect import exposure, shortcuts

IMBALANCE = 10.0  # the largest class over the smallest
ODD_AREA = 8.0  # times the median area, or its inverse
ODD_DEVIATIONS = 3.5  # and so far from the median by the set's own spread: sets of crops vary by nature


def audit(
    manifest: pd.DataFrame, near: pd.DataFrame, seen: pd.DataFrame, cues: pd.DataFrame | None = None
) -> pd.DataFrame:
    """List what looks wrong with a set of pictures.

    Parameters
    ----------
    manifest
        The table MANIFEST.
    near
        Its pairs of near copies, see `fastrec.collect.duplicates.pairs`.
    seen
        What one decode told about each picture: SEEN, or its columns of `fastrec.collect.seen.measures`.
    cues
        What `fastrec.collect.shortcuts.measure` returned; measured here where not given.

    Returns
    -------
    QUALITY, with the issues ``near_copy`` (kept on one side of every split), ``near_copy_two_labels``,
    ``mended`` and ``nearly_constant`` (from the decoder's warnings), ``dark``, ``bright`` and ``blurred``
    (see `fastrec.collect.exposure`), ``odd_size``, ``imbalance``, ``label_typo`` (two classes that differ by
    case, blanks, a plural or one letter) and ``shortcut``.
    """
    cues = shortcuts.measure(manifest, near, seen) if cues is None else cues
    rows = [
        *_near_copies(manifest, near),
        *_warnings(manifest),
        *_exposures(manifest, seen),
        *_odd_sizes(manifest),
        *_imbalance(manifest),
        *_typos(manifest),
        *(_issue("shortcut", sentence, value=accuracy) for sentence, accuracy in shortcuts.sentences(cues)),
    ]
    return pd.DataFrame(rows, columns=QUALITY.schema.names).astype({"value": float})


def counts(manifest: pd.DataFrame) -> pd.DataFrame:
    """Count the images of each class (index), largest class first."""
    return manifest["labels"].explode().value_counts().rename_axis("class").to_frame("images")


def _issue(
    issue: str, message: str, image_id: str | None = None, value: float | None = None, other_id: str | None = None
) -> dict[str, Any]:
    return {"issue": issue, "image_id": image_id, "other_id": other_id, "value": value, "message": message}


def _near_copies(manifest: pd.DataFrame, near: pd.DataFrame) -> Iterator[dict[str, Any]]:
    paired = manifest[manifest["image_id"].isin([*near["image_id"], *near["other_id"]])]
    facts = zip(paired["path"], map(list, paired["labels"]), strict=True)
    known = dict(zip(paired["image_id"], facts, strict=True))
    for one, other, value in zip(near["image_id"], near["other_id"], near["value"], strict=True):
        if one in known and other in known:  # decisions by hand may have dropped one of them
            (path, labels), (other_path, other_labels) = known[one], known[other]
            issue = "near_copy" if labels == other_labels else "near_copy_two_labels"
            message = f"{path} ({', '.join(labels)}) and {other_path} ({', '.join(other_labels)}) are nearly the same."
            yield _issue(issue, message, one, float(value), other)


def _warnings(manifest: pd.DataFrame) -> Iterator[dict[str, Any]]:
    for image_id, path, notes in zip(manifest["image_id"], manifest["path"], manifest["warnings"], strict=True):
        for note in notes:
            yield _issue("nearly_constant" if note == "nearly constant" else "mended", f"{path}: {note}.", image_id)


def _exposures(manifest: pd.DataFrame, seen: pd.DataFrame) -> Iterator[dict[str, Any]]:
    for issue, place, value, words in exposure.faults(manifest, seen):
        row = manifest.iloc[place]
        yield _issue(issue, f"{row['path']} looks {issue}: {words}.", row["image_id"], value)


def _odd_sizes(manifest: pd.DataFrame) -> Iterator[dict[str, Any]]:
    area = (manifest["width"] * manifest["height"]).to_numpy(float)
    odd = np.abs(np.log(area / np.median(area))) > np.log(ODD_AREA)
    for place in np.flatnonzero(odd & (np.abs(exposure.unusual(np.log(area))) > ODD_DEVIATIONS)):
        row, ratio = manifest.iloc[place], area[place] / np.median(area)
        message = f"{row['path']} is {row['width']}x{row['height']}, {ratio:.2g} times the median area."
        yield _issue("odd_size", message, row["image_id"], float(ratio))


def _imbalance(manifest: pd.DataFrame) -> Iterator[dict[str, Any]]:
    images = counts(manifest)["images"]
    ratio = images.max() / images.min()
    if ratio > IMBALANCE:
        message = f"{images.idxmax()!r} has {images.max()} images, {images.idxmin()!r} only {images.min()}."
        yield _issue("imbalance", message, value=float(ratio))


def _typos(manifest: pd.DataFrame) -> Iterator[dict[str, Any]]:
    for one, other in combinations(sorted(counts(manifest).index), 2):
        if _alike(one, other):
            yield _issue("label_typo", f"classes {one!r} and {other!r} may be one class spelt twice.")


def _alike(one: str, other: str) -> bool:
    a, b = (unicodedata.normalize("NFC", name).strip().casefold() for name in (one, other))
    if a == b:
        return True
    if min(len(a), len(b)) < 3 or any(c.isdigit() for c in a + b):  # short codes and numbers differ by one on purpose
        return False
    if abs(len(a) - len(b)) == 1:
        longer, shorter = (a, b) if len(a) > len(b) else (b, a)
        return any(longer[:k] + longer[k + 1 :] == shorter for k in range(len(longer)))
    return len(a) == len(b) and sum(x != y for x, y in zip(a, b, strict=True)) == 1 and len(a) > 4
