"""Train, valid and test by content: the same images give the same split, whatever their names or order."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from fastrec import labels, markup
from fastrec.artefacts import SPLITS, SPLITS_ORDER
from fastrec.collect import duplicates, look
from fastrec.files import FastrecError
from fastrec.preprocess import stratify

if TYPE_CHECKING:
    from IPython.display import HTML

FOLDS = 5
NEAR = ("near_copy", "near_copy_two_labels")


def split(
    manifest: pd.DataFrame,
    valid: float = 0.2,
    test: float = 0.2,
    seed: int = 0,
    folds: int = FOLDS,
    quality: pd.DataFrame | None = None,
    given_splits: bool = True,
) -> pd.DataFrame:
    """Assign every image to train, valid or test, and every image outside test to a fold.

    Images of one group stay together, and so do crops of one photo and near copies of each other.  A split
    that the source gave is kept: ``valid`` and ``test`` as they are; what it calls ``train`` gives away only
    those splits that it does not have.  What has no given place follows its near copies that have one.

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
        The table QUALITY, whose pairs of near copies stay together.
    given_splits
        Whether the split that the source gave is kept; otherwise all pictures are dealt anew.

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
    table = _units(manifest if given_splits else manifest.assign(split_hint=None), quality, multi_label)
    shares = _shares(table["split_hint"], valid, test)
    _check_enough(each_label(table, multi_label), len(shares))
    table["split"] = _placed(table, shares, seed, multi_label)
    _check_present(table, multi_label)
    rest = table["split"] != "test"
    table["fold"] = -1
    names = [str(k) for k in range(folds)]
    assigned = _dealt(table[rest], dict.fromkeys(names, 1 / folds), seed + 1, multi_label)
    table.loc[rest, "fold"] = assigned.astype(int)
    torn = table.groupby("unit")["split"].transform("nunique") > 1  # by the source, see `leaks`
    table["group"] = table["unit"].where(~torn, table["unit"] + " in " + table["split"])
    table = table.sort_values("image_id", ignore_index=True)
    table["row"] = np.arange(len(table))
    return table[SPLITS.schema.names]


def _units(manifest: pd.DataFrame, quality: pd.DataFrame | None, multi_label: bool) -> pd.DataFrame:
    """Return what is split: with each picture's ``group``, its own name where it has none, and its ``unit``.

    A unit is all that hangs together by groups, photos and near copies, whatever the source says of splits.
    """
    table = manifest[["image_id", "group", "split_hint"]].copy()
    table["label"] = _joined_labels(manifest["labels"]) if multi_label else manifest["labels"].str[0]
    table["group"] = table["group"].where(table["group"].notna(), table["image_id"])
    photo = table["image_id"].map(look.photo)
    ties = [pd.DataFrame({"image_id": table["group"], "other_id": table.groupby(photo)["group"].transform("first")})]
    if quality is not None:
        group_of, near = table.set_index("image_id")["group"], _near(quality)
        ties.append(pd.DataFrame({name: near[name].map(group_of) for name in ("image_id", "other_id")}).dropna())
    both = pd.concat(ties, ignore_index=True)
    first = duplicates.clusters(both[both["image_id"] != both["other_id"]])
    table["unit"] = table["group"].map(lambda group: first.get(group, group))
    return table


def _near(quality: pd.DataFrame) -> pd.DataFrame:
    return quality[quality["issue"].isin(NEAR)]


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


def _shares(hints: pd.Series, valid: float, test: float) -> dict[str, float]:
    """Return the shares of the splits that images without a fixed place are dealt to."""
    shares = {"train": 1 - valid - test, "valid": valid, "test": test}
    given = set(hints.dropna()) - {"train"}
    return {name: share for name, share in shares.items() if name not in given}


def _placed(table: pd.DataFrame, shares: Mapping[str, float], seed: int, multi_label: bool) -> pd.Series:
    """Return the split of each picture: the given one, that of its near copies, or the one it is dealt to."""
    fixed = table["split_hint"].isin([name for name in SPLITS_ORDER if name not in shares])
    _refuse_torn_groups(table, set(table.loc[fixed, "group"]))
    side = table["split_hint"].where(fixed)
    # of two given splits the later one: what is nearly a test picture is never learned from
    given = table[fixed].sort_values("split_hint", key=lambda names: names.map(SPLITS_ORDER.index), kind="stable")
    strictest = dict(zip(given["unit"], given["split_hint"], strict=True))
    side = side.where(fixed | table["split_hint"].notna(), table["unit"].map(strictest))
    free = side.isna()
    return side.where(~free, _dealt(table[free], shares, seed, multi_label))


def _dealt(table: pd.DataFrame, shares: Mapping[str, float], seed: int, multi_label: bool) -> pd.Series:
    """Deal units to the parts that lack their labels most."""
    pictures, labelled = Counter(table["unit"]), each_label(table, multi_label)
    units = stratify.units(labelled["unit"], labelled["label"])
    place = (stratify.deal_sets if multi_label else stratify.deal)(units, pictures, shares, seed)
    return table["unit"].map(place)


def _refuse_torn_groups(table: pd.DataFrame, groups: set[str]) -> None:
    hints = table[table["group"].isin(groups)].dropna(subset=["split_hint"]).groupby("group")["split_hint"].unique()
    for group, given in hints.items():
        if len(given) > 1:
            raise FastrecError(
                f"group {group!r} has images given to {' and '.join(sorted(given))}: "
                "put a group on one side of the split."
            )


def _check_enough(table: pd.DataFrame, missing: int) -> None:
    for label, units in table[table["label"] != ""].groupby("label")["unit"].nunique().items():
        if units < missing:
            raise FastrecError(
                f"class {label!r} has {units} image{'s' * (units != 1)} or groups, but train, valid and test need one "
                "each: add images or remove the class."
            )


def _check_present(table: pd.DataFrame, multi_label: bool) -> None:
    found = counts(table, multi_label)
    for name in SPLITS_ORDER:
        if (absent := found.index[found[name] == 0]).size:
            given = (
                "the split that the source gave has none: set given_splits=False"
                if table["split_hint"].notna().any()
                else ""
            )
            raise FastrecError(f"class {absent[0]!r} has no image in {name}: {given or 'add images'}.")


def counts(splits: pd.DataFrame, multi_label: bool = False) -> pd.DataFrame:
    """Count the images of each class (index) in each split (columns); one with several labels counts for each."""
    table = each_label(splits, multi_label)
    found = pd.crosstab(table["label"], table["split"]).reindex(columns=SPLITS_ORDER, fill_value=0)
    return found.drop(index="", errors="ignore") if multi_label else found


def leaks(splits: pd.DataFrame, quality: pd.DataFrame | None = None) -> pd.DataFrame:
    """List images, groups, photos and near copies that stand on more than one side of the split: must be empty.

    Only a split that the source itself gave can tear the crops of a photo or near copies apart.
    """
    photo = splits["image_id"].map(look.photo)
    rows = []
    for what, names in {"image_id": splits["image_id"], "group": splits["group"], "crops of a photo": photo}.items():
        sides = splits[["split"]].assign(value=names).drop_duplicates()
        torn = sides[sides["value"].duplicated(keep=False)].groupby("value")["split"]
        rows += [{"what": what, "value": value, "splits": sorted(found)} for value, found in torn]
    if quality is not None:
        side, near = splits.set_index("image_id")["split"], _near(quality)
        for one, other, message in zip(near["image_id"], near["other_id"], near["message"], strict=True):
            here, there = side.get(one, ""), side.get(other, "")
            if here and there and here != there:
                rows.append({"what": "near copy", "value": message, "splits": [here, there]})
    return pd.DataFrame(rows, columns=["what", "value", "splits"])


def show_leaks(found: pd.DataFrame) -> HTML | str:
    """Show what `leaks` found in whole sentences, or say that there is nothing."""
    if found.empty:
        return "Nothing stands on two sides."
    said = found["value"] + " They stand in " + found["splits"].map(" and ".join) + "."
    return markup.by_kind(found.assign(leak=said), "what", "leak")


def rows(splits: pd.DataFrame, names: Sequence[str]) -> np.ndarray:
    """Return the cache rows of the named splits, ascending."""
    return splits.loc[splits["split"].isin(list(names)), "row"].to_numpy()
