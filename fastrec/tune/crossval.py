"""Cross-validation: every picture outside test is judged by a model that did not learn from it."""

from __future__ import annotations

import shutil
import warnings
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from fastrec import engine, files, formats, labels, plots
from fastrec.artefacts import CACHE, FOLDS, IMAGES, SPLITS
from fastrec.collect import label_errors
from fastrec.files import FastrecError
from fastrec.records import CacheInfo
from fastrec.run import Run
from fastrec.tune import search

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from fastrec.train.recipe import Recipe

KEPT = "04_tune/folds"  # the finished folds: a run that was killed goes on after them


def cross_validate(run: Run, recipe: Recipe, folds: int) -> pd.DataFrame:
    """Train one model per fold by a recipe, let each predict the fold it did not learn from, and write FOLDS.

    The pictures of the test split are never touched.  Finished folds outlive a kill: they are kept under
    a checksum of the pixels, the split, the recipe and the code.

    Parameters
    ----------
    run
        Its cache and split are read.
    recipe
        What is trained, ``folds`` times.
    folds
        At least 2; see :func:`assign`.

    Returns
    -------
    FOLDS, in the order of SPLITS: for each picture its label (see `fastrec.labels`), what was predicted,
    and the score of every class in the order of the cache's classes (softmax; with several labels sigmoid).

    Raises
    ------
    FastrecError
        If ``folds`` is under 2, or a class has too few pictures for so many.
    """
    splits, info = run.read(SPLITS), run.read(CACHE)
    splits = splits[splits["split"] != "test"].reset_index(drop=True)
    splits["fold"] = assign(splits, folds)
    kept = run.path(KEPT) / search.fingerprint(run, recipe, folds)
    _clear_others(kept)
    parts = [
        _part(run, recipe, splits[splits["fold"] == fold], info, kept / f"{fold}.parquet")
        for fold in engine.progress(range(folds), folds, "folds", unit="fold")
    ]
    table = pd.concat(parts).sort_values("image_id", ignore_index=True)
    run.write(FOLDS, table)
    return table


def assign(splits: pd.DataFrame, folds: int) -> pd.Series:
    """Return the fold of each row of SPLITS outside test: those of preprocess, dealt anew if others are asked for.

    Groups stay together and classes are spread evenly, as scikit-learn's ``StratifiedGroupKFold`` does.
    """
    if folds < 2:
        raise FastrecError(f"folds is {folds}: take at least 2.")
    if set(splits["fold"]) == set(range(folds)):
        return splits["fold"]
    from sklearn.model_selection import StratifiedGroupKFold

    fold = pd.Series(-1, splits.index)
    with warnings.catch_warnings():  # a rare class that some folds lack is no fault of theirs
        warnings.simplefilter("ignore", UserWarning)
        try:
            dealt = StratifiedGroupKFold(folds).split(splits, _rarest(splits["label"]), splits["group"])
            for number, (_, held_out) in enumerate(dealt):
                fold.iloc[held_out] = number
        except ValueError:
            pass
    if set(fold) != set(range(folds)):
        groups = splits["group"].nunique()
        raise FastrecError(f"folds is {folds}, too many for {len(splits)} pictures in {groups} groups: take fewer.")
    return fold


def _rarest(texts: pd.Series) -> pd.Series:
    """Return for each picture the rarest of its labels: what is hardest to spread evenly."""
    counts = texts.map(labels.split).explode().value_counts()
    return texts.map(lambda text: min(labels.split(text), key=lambda name: (counts[name], name), default=""))


def _clear_others(kept: Path) -> None:
    """Remove the folds of other recipes, splits and code: nothing will ask for them again."""
    for folder in kept.parent.glob("*"):
        if folder != kept:
            shutil.rmtree(folder)


def _part(run: Run, recipe: Recipe, held_out: pd.DataFrame, info: CacheInfo, kept: Path) -> pd.DataFrame:
    """Return the part of FOLDS for one fold: from the folder of finished ones, else by a training."""
    with suppress(Exception):  # missing or damaged, whatever the parser says: it is trained anew
        return formats.load(FOLDS, kept)
    table = _predicted(run, recipe, held_out, info)
    with files.replacing(kept) as temporary:
        formats.save(FOLDS, table, temporary)
    return table


def _predicted(run: Run, recipe: Recipe, held_out: pd.DataFrame, info: CacheInfo) -> pd.DataFrame:
    from fastrec.train import training

    rows = held_out.sort_values("row", ignore_index=True)
    learn = training.fit(run, recipe, held_out=rows["row"].to_numpy())
    with learn.no_bar(), learn.no_logging():
        scores = learn.get_preds(dl=learn.dls.valid, reorder=False)[0].double().cpu().numpy()
    half = [0.5] * len(info.classes) if info.multi_label else None
    rows["predicted"], _ = labels.answers(scores, info.classes, half)
    rows["scores"] = list(scores)
    return rows[FOLDS.schema.names]


def accuracies(table: pd.DataFrame) -> pd.DataFrame:
    """Return for each fold of FOLDS (index) its pictures and its accuracy: the share with every label right."""
    right = (table["label"] == table["predicted"]).groupby(table["fold"])
    return pd.DataFrame({"images": right.size(), "accuracy": right.mean()})


def figure(table: pd.DataFrame) -> Figure:
    """Draw the accuracy of each fold, with their mean and one standard deviation to both sides."""
    found = accuracies(table)["accuracy"]
    mean, spread = found.mean(), found.std()
    with plots.canvas(size=(5.0, 0.9 + 0.24 * len(found))) as (drawn, axis):
        axis.axvspan(mean - spread, mean + spread, color=plots.BLUE, alpha=0.12, linewidth=0)
        axis.axvline(mean, color=plots.BLUE, linestyle="--")
        axis.plot(found, range(len(found)), "o", color=plots.BLUE)
        axis.set_yticks(range(len(found)), [f"fold {fold}" for fold in found.index])
        axis.set_ylim(len(found) - 0.5, -0.5)
        reach = max(0.01, 1.5 * (found - mean).abs().max(), 1.2 * spread)  # equal folds shall look equal
        axis.set_xlim(mean - reach, mean + reach)
        axis.set_xlabel("accuracy on the pictures kept back")
        axis.set_title(f"mean {mean:.3f}, standard deviation {spread:.3f} over {len(found)} folds")
        return drawn


def doubted(run: Run, table: pd.DataFrame, most: int = 24) -> Figure | str:
    """Draw the first pictures whose label FOLDS makes doubtful, each titled ``given→suggested score``."""
    info = run.read(CACHE)
    try:
        found = label_errors.suspects(table, info.classes, info.multi_label)
    except FastrecError as error:
        return str(error)
    print(f"{len(found):,} of {len(table):,} labels are doubtful" + (f", the first {most}:" * (len(found) > most)))
    row, cached = run.read(SPLITS).set_index("image_id")["row"], run.read(IMAGES)
    pictures = [np.asarray(cached[row[image_id]]) for image_id in found["image_id"].head(most)]
    return plots.image_grid(pictures, [label_errors.title(suspect) for suspect in found.itertuples()][:most], 8)
