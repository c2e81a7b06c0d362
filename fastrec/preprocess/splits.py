"""Train, valid and test by content: the same images give the same split, whatever their names or order."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from fastrec import labels
from fastrec.artefacts import SPLITS, SPLITS_ORDER
from fastrec.collect import duplicates
from fastrec.files import FastrecError
from fastrec.preprocess import stratify

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
        The table MANIFEST; multi-label where a picture has several labels or none.
    valid, test
        Shares of all images, each class on its own (stratified; with several labels each of them).
    seed
        Changes which images go where; the order of files does not.
    folds
        For cross-validation inside train and valid, at least 2.
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
    if folds < 2:
        raise FastrecError(f"folds is {folds}: take at least 2.")
    multi_label = labels.several(manifest["labels"])
    table = _units(manifest, quality, multi_label)
    shares = _shares(table["split_hint"], valid, test)
    _check_enough(each_label(table, multi_label), len(shares))
    table["split"] = _assign(table, shares, table["split_hint"], seed, multi_label)
    _check_present(table, multi_label)
    rest = table["split"] != "test"
    table["fold"] = -1
    names = [str(k) for k in range(folds)]
    assigned = _assign(table[rest], dict.fromkeys(names, 1 / folds), None, seed + 1, multi_label)
    table.loc[rest, "fold"] = assigned.astype(int)
    table = table.sort_values("image_id", ignore_index=True)
    table["row"] = np.arange(len(table))
    return table[SPLITS.schema.names]


def _units(manifest: pd.DataFrame, quality: pd.DataFrame | None, multi_label: bool) -> pd.DataFrame:
    table = manifest[["image_id", "group", "split_hint"]].copy()
    table["label"] = _joined_labels(manifest["labels"]) if multi_label else manifest["labels"].str[0]
    table["group"] = table["group"].where(table["group"].notna(), table["image_id"])
    if quality is not None:
        table["group"] = _joined(table, quality[quality["issue"].isin(NEAR)])
    return table


def _joined_labels(lists: pd.Series) -> pd.Series:
    names = sorted({name for found in lists for name in found})
    if not names:
        raise FastrecError("no picture has a label: give some labels (notebooks/01_collect.ipynb).")
    for name in names:
        if not name or labels.SEPARATOR in name:
            raise FastrecError(
                f"label {name!r} cannot stand in a set with several labels per picture, where {labels.SEPARATOR!r} "
                "parts them: rename it with label_map."
            )
    return lists.map(lambda found: labels.join(set(found)))


def each_label(table: pd.DataFrame, multi_label: bool) -> pd.DataFrame:
    """Return a table with one row for each ``label`` of a picture; the label of a picture without any is empty."""
    if not multi_label:
        return table
    return table.assign(label=table["label"].map(labels.split)).explode("label").fillna({"label": ""})


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


def _assign(
    table: pd.DataFrame, shares: Mapping[str, float], hints: pd.Series | None, seed: int, multi_label: bool
) -> pd.Series:
    """Deal units (groups) to the splits that lack their labels, after those whose place is given."""
    place: dict[str, str] = {}
    free = table
    if hints is not None:
        fixed = table[hints.isin([name for name in SPLITS_ORDER if name not in shares])]
        _refuse_torn_groups(table, set(fixed["group"]))
        place = dict(zip(fixed["group"], fixed["split_hint"], strict=True))
        free = table[~table["group"].isin(place)]
    pictures, labelled = Counter(free["group"]), each_label(free, multi_label)
    units = stratify.units(labelled["group"], labelled["label"])
    place |= (stratify.deal_sets if multi_label else stratify.deal)(units, pictures, shares, seed)
    return table["group"].map(place)


def _refuse_torn_groups(table: pd.DataFrame, groups: set[str]) -> None:
    hints = table[table["group"].isin(groups)].dropna(subset=["split_hint"]).groupby("group")["split_hint"].unique()
    for group, given in hints.items():
        if len(given) > 1:
            raise FastrecError(
                f"group {group!r} has images given to {' and '.join(sorted(given))}: "
                "put a group on one side of the split."
            )


def _check_enough(table: pd.DataFrame, missing: int) -> None:
    for label, units in table[table["label"] != ""].groupby("label")["group"].nunique().items():
        if units < missing:
            raise FastrecError(
                f"class {label!r} has {units} image{'s' * (units != 1)} or groups, but train, valid and test need one "
                "each: add images or remove the class."
            )


def _check_present(table: pd.DataFrame, multi_label: bool) -> None:
    found = counts(table, multi_label)
    for name in SPLITS_ORDER:
        if (absent := found.index[found[name] == 0]).size:
            raise FastrecError(f"class {absent[0]!r} has no image in {name}: add images, or change the split given.")


def counts(splits: pd.DataFrame, multi_label: bool = False) -> pd.DataFrame:
    """Count the images of each class (index) in each split (columns); one with several labels counts for each."""
    table = each_label(splits, multi_label)
    found = pd.crosstab(table["label"], table["split"]).reindex(columns=SPLITS_ORDER, fill_value=0)
    return found.drop(index="", errors="ignore") if multi_label else found


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
