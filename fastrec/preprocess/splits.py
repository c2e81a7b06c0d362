"""Train, valid and test by content: the same images give the same split, whatever their names or order."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from fastrec.artefacts import SPLITS, SPLITS_ORDER
from fastrec.collect import duplicates
from fastrec.files import FastrecError

FOLDS = 5
NEAR = ("near_copy", "near_copy_two_labels")


def split(
    manifest: pd.DataFrame,
    valid: float = 0.2,
    test: float = 0.2,
    seed: int = 0,
    folds: int = FOLDS,
    quality: pd.DataFrame | None = None,
) -> pd.DataFrame:
    """Assign every image to train, valid or test, and every image outside test to a fold.

    Images of one group stay together, and so do near copies of each other.  A split that the source
    gave is kept: ``valid`` and ``test`` as they are; what it calls ``train`` gives away only those
    splits that it does not have.

    Parameters
    ----------
    manifest
        The table MANIFEST, labels single.
    valid, test
        Shares of all images, each class on its own (stratified).
    seed
        Changes which images go where; the order of files does not.
    folds
        For cross-validation inside train and valid.
    quality
        The table QUALITY, whose pairs of near copies count as one group.

    Returns
    -------
    SPLITS, in the order of `image_id`, which is also the order of the cache's rows.

    Raises
    ------
    FastrecError
        If a share is out of range or a class has too few images for the splits (names both).
    """
    if not (0 < valid < 1 and 0 < test < 1 and valid + test < 1):
        raise FastrecError(f"valid is {valid} and test is {test}: take shares above 0 that leave some for train.")
    table = _units(manifest, quality)
    _check_enough(table, valid, test)
    table["split"] = _assign(table, _shares(table["split_hint"], valid, test), table["split_hint"], seed)
    _check_present(table)
    rest = table["split"] != "test"
    table["fold"] = -1
    names = [str(k) for k in range(folds)]
    assigned = _assign(table[rest], dict.fromkeys(names, 1 / folds), None, seed + 1)
    table.loc[rest, "fold"] = assigned.astype(int)
    table = table.sort_values("image_id", ignore_index=True)
    table["row"] = np.arange(len(table))
    return table[SPLITS.schema.names]


def _units(manifest: pd.DataFrame, quality: pd.DataFrame | None) -> pd.DataFrame:
    several = manifest[manifest["labels"].str.len() > 1]
    if len(several):
        raise FastrecError(
            f"{len(several)} pictures have several labels, the first {several['path'].iloc[0]}: give one label each, "
            "or take their boxes (coco-crop:)."
        )
    table = manifest[["image_id", "group", "split_hint"]].copy()
    table["label"] = manifest["labels"].str[0]
    table["group"] = table["group"].where(table["group"].notna(), table["image_id"])
    if quality is not None:
        table["group"] = _joined(table, quality[quality["issue"].isin(NEAR)])
    return table


def _joined(table: pd.DataFrame, near: pd.DataFrame) -> pd.Series:
    """Give the groups that near copies tie together one name; given splits are kept, and `leaks` tells of them."""
    group_of = dict(zip(table["image_id"], table["group"], strict=True))
    free = set(table.loc[table["split_hint"].isna() | (table["split_hint"] == "train"), "image_id"])
    ties = near[near["image_id"].isin(free) & near["other_id"].isin(free)]
    ends = {"image_id": ties["image_id"].map(group_of), "other_id": ties["other_id"].map(group_of)}
    first = duplicates.clusters(pd.DataFrame(ends))
    return table["group"].map(lambda group: first.get(group, group))


def _shares(hints: pd.Series, valid: float, test: float) -> dict[str, float]:
    """Return the shares of the splits that images without a fixed place are dealt to."""
    shares = {"train": 1 - valid - test, "valid": valid, "test": test}
    given = set(hints.dropna()) - {"train"}
    return {name: share for name, share in shares.items() if name not in given}


def _assign(table: pd.DataFrame, shares: Mapping[str, float], hints: pd.Series | None, seed: int) -> pd.Series:
    """Deal units (groups) in hash order, each to the split that lacks most of the unit's label."""
    place: dict[str, str] = {}
    free = table
    if hints is not None:
        fixed = table[hints.isin([name for name in SPLITS_ORDER if name not in shares])]
        _refuse_torn_groups(table, set(fixed["group"]))
        place = dict(zip(fixed["group"], fixed["split_hint"], strict=True))
        free = table[~table["group"].isin(place)]
    names, weights = list(shares), np.array(list(shares.values())) / sum(shares.values())
    wanted = {label: _quotas(count, weights) for label, count in free["label"].value_counts().items()}
    by_unit: dict[str, Counter[str]] = defaultdict(Counter)
    for group, label in zip(free["group"], free["label"], strict=True):
        by_unit[group][label] += 1
    # Large groups first: the small ones then even out what those upset.
    for group in sorted(by_unit, key=lambda g: (-sum(by_unit[g].values()), _hash(g, seed))):
        lack = sum(wanted[label] * count for label, count in by_unit[group].items())
        best = int(np.argmax(lack))
        place[group] = names[best]
        for label, count in by_unit[group].items():
            wanted[label][best] -= count
    return table["group"].map(place)


def _refuse_torn_groups(table: pd.DataFrame, groups: set[str]) -> None:
    hints = table[table["group"].isin(groups)].dropna(subset=["split_hint"]).groupby("group")["split_hint"].unique()
    for group, given in hints.items():
        if len(given) > 1:
            raise FastrecError(
                f"group {group!r} has images given to {' and '.join(sorted(given))}: "
                "put a group on one side of the split."
            )


def _quotas(count: int, weights: np.ndarray) -> np.ndarray:
    """Share ``count`` images out by largest remainder, with at least one for each split where they suffice."""
    exact = count * weights
    quotas = np.floor(exact)
    quotas[np.argsort(quotas - exact, kind="stable")[: round(count - quotas.sum())]] += 1
    while count >= len(weights) and quotas.min() < 1:
        quotas[quotas.argmax()] -= 1
        quotas[quotas.argmin()] += 1
    return quotas


def _hash(group: str, seed: int) -> bytes:
    return hashlib.sha256(f"{seed}\0{group}".encode()).digest()


def _check_enough(table: pd.DataFrame, valid: float, test: float) -> None:
    missing = len(_shares(table["split_hint"], valid, test))
    for label, units in table.groupby("label")["group"].nunique().items():
        if units < missing:
            raise FastrecError(
                f"class {label!r} has {units} image{'s' * (units != 1)} or groups, but train, valid and test need one "
                "each: add images or remove the class."
            )


def _check_present(table: pd.DataFrame) -> None:
    counts = pd.crosstab(table["label"], table["split"]).reindex(columns=SPLITS_ORDER, fill_value=0)
    for name in SPLITS_ORDER:
        if (absent := counts.index[counts[name] == 0]).size:
            raise FastrecError(f"class {absent[0]!r} has no image in {name}: add images, or change the split given.")


def counts(splits: pd.DataFrame) -> pd.DataFrame:
    """Count the images of each class (index) in each split (columns)."""
    return pd.crosstab(splits["label"], splits["split"]).reindex(columns=SPLITS_ORDER, fill_value=0)


def leaks(splits: pd.DataFrame, quality: pd.DataFrame | None = None) -> pd.DataFrame:
    """List images, groups and near copies that stand on more than one side of the split: must be empty.

    Only a split that the source itself gave can tear near copies apart.
    """
    rows = []
    for column in ("image_id", "group"):
        sides = splits.groupby(column)["split"].agg(lambda names: sorted(set(names)))
        rows += [{"what": column, "value": value, "splits": found} for value, found in sides.items() if len(found) > 1]
    if quality is not None:
        side = splits.set_index("image_id")["split"]
        near = quality[quality["issue"].isin(NEAR)]
        for one, other, message in zip(near["image_id"], near["other_id"], near["message"], strict=True):
            if side[one] != side[other]:
                rows.append({"what": "near copy", "value": message, "splits": [side[one], side[other]]})
    return pd.DataFrame(rows, columns=["what", "value", "splits"])


def rows(splits: pd.DataFrame, names: Sequence[str]) -> np.ndarray:
    """Return the cache rows of the named splits, ascending."""
    return splits.loc[splits["split"].isin(list(names)), "row"].to_numpy()
