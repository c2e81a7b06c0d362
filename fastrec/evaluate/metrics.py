"""The figures of ``metrics.json``: points by scikit-learn, intervals by resampling the test images."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd
from sklearn import metrics as sk

from fastrec.evaluate import calibration, intervals, multilabel
from fastrec.labels import each, indicators
from fastrec.records import Interval, PerClass

N_BOOT = 1000


def summary(
    predictions: pd.DataFrame,
    classes: Sequence[str],
    n_boot: int = N_BOOT,
    seed: int = 0,
    multi_label: bool = False,
) -> dict[str, Interval]:
    """Return every interval of METRICS by name, from PREDICTIONS.

    Parameters
    ----------
    predictions
        With ``label``, ``predicted``, ``score`` and ``scores``.
    classes
        Sorted, in the order of ``scores``.
    n_boot, seed
        Of the resampling: see `fastrec.evaluate.intervals.resample`.
    multi_label
        Labels and answers are sets (see `fastrec.labels`); their log loss is the mean over the classes.
    """
    found = from_labels(predictions["label"], predictions["predicted"], classes, n_boot, seed, multi_label)
    loss, losses = _losses(predictions, classes, multi_label)
    right = (predictions["label"] == predictions["predicted"]).to_numpy()
    top = predictions["score"].to_numpy()
    numbers = calibration.bin_numbers(top)
    draws = intervals.resample(
        lambda drawn: {
            "log_loss": losses[drawn].mean(),
            "ece": calibration.ece(right[drawn], top[drawn], numbers[drawn]),
        },
        len(top),
        n_boot,
        seed,
    )
    found["log_loss"] = intervals.percentile(loss, draws["log_loss"])
    found["ece"] = intervals.percentile(calibration.ece(right, top, numbers), draws["ece"])
    return found


def _losses(predictions: pd.DataFrame, classes: Sequence[str], multi_label: bool) -> tuple[float, np.ndarray]:
    """Return the log loss, and that of each image."""
    scores = np.stack(predictions["scores"].to_list())
    if multi_label:
        truth = indicators(predictions["label"], classes)
        return float(sk.log_loss(truth.ravel(), scores.ravel(), labels=[False, True])), multilabel.losses(truth, scores)
    codes = pd.Categorical(predictions["label"], categories=list(classes)).codes
    losses = -np.log(np.clip(scores[np.arange(len(scores)), codes], np.finfo(float).eps, 1.0))
    return float(sk.log_loss(predictions["label"], scores, labels=list(classes))), losses


def from_labels(
    labels: pd.Series,
    predicted: pd.Series,
    classes: Sequence[str],
    n_boot: int = N_BOOT,
    seed: int = 0,
    multi_label: bool = False,
) -> dict[str, Interval]:
    """Return accuracy, balanced accuracy, the macro means and the weighted F1, each with its interval.

    A mean over classes is null, with a note, where a class has no figure: one without test images has
    no recall and no F1, one that is never predicted has no precision.  With several labels see
    `fastrec.evaluate.multilabel.points`.
    """
    absent = _absent(labels, predicted, classes, multi_label)
    if multi_label:
        sets = indicators(labels, classes), indicators(predicted, classes)
        values, drawn = multilabel.points(*sets), multilabel.of_drawn(*sets)
    else:
        truth, guess = (pd.Categorical(names, categories=list(classes)).codes for names in (labels, predicted))
        values, drawn = _points(labels, predicted, classes), _of_drawn(truth, guess, len(classes))
    draws = intervals.resample(drawn, len(labels), n_boot, seed)
    found = {
        name: Interval(value=None, note=absent[name]) if name in absent else intervals.percentile(value, draws[name])
        for name, value in values.items()
    }
    right = int((np.asarray(labels) == np.asarray(predicted)).sum())
    if right in (0, len(labels)):  # resampling images that are all right never draws a wrong one
        found["accuracy"] = intervals.proportion(right, len(labels), "exact")
        found["accuracy"].note = "exact binomial interval: resampling cannot vary what is the same for all images"
    return found


def _points(labels: pd.Series, predicted: pd.Series, classes: Sequence[str]) -> dict[str, float]:
    precision, recall, f1, support = by_class(labels, predicted, classes)
    return {
        "accuracy": float(sk.accuracy_score(labels, predicted)),
        "balanced_accuracy": float(recall.mean()),
        "macro_precision": float(precision.mean()),
        "macro_recall": float(recall.mean()),
        "macro_f1": float(f1.mean()),
        "weighted_f1": float(np.average(np.nan_to_num(f1), weights=support)),
    }


def _absent(labels: pd.Series, predicted: pd.Series, classes: Sequence[str], multi_label: bool) -> dict[str, str]:
    """Return a note for each mean that some class leaves undefined."""
    counts = [_counted(names, multi_label) for names in (labels, predicted)]
    unseen, unsaid = ([name for name in classes if name not in counted] for counted in counts)
    notes = {}
    if multi_label and (everywhere := [name for name in classes if counts[0][name] == len(labels)]):
        notes["balanced_accuracy"] = f"not defined: {_listed(everywhere)} on every test image"
    if unseen:
        note = f"not defined: {_listed(unseen)} without test images"
        means = ("balanced_accuracy", "macro_recall", "macro_f1", "weighted_f1")
        notes |= dict.fromkeys(means if len(unseen) == len(classes) else means[:3], note)
    if unsaid:
        notes["macro_precision"] = f"not defined: {_listed(unsaid)} never predicted"
    return notes


def _counted(texts: pd.Series, multi_label: bool) -> Counter[str]:
    return Counter(name for text in texts for name in each(text, multi_label))


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(map(repr, names[:3])) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
    return ("class " if len(names) == 1 else "classes ") + shown


def _of_drawn(truth: np.ndarray, guess: np.ndarray, classes: int) -> Callable[[np.ndarray], dict[str, float]]:
    """Return the figures of :func:`_points` as a function of which images are drawn; NaN where undefined."""

    def figures(drawn: np.ndarray) -> dict[str, float]:
        t, g = truth[drawn], guess[drawn]
        hits, support, named = (np.bincount(codes, minlength=classes) for codes in (t[t == g], t, g))
        with np.errstate(invalid="ignore"):
            recall, precision = hits / support, hits / named
            f1 = np.where(support > 0, 2 * hits / (support + named), np.nan)
        return {
            "accuracy": hits.sum() / len(t),
            "balanced_accuracy": recall.mean(),
            "macro_precision": precision.mean(),
            "macro_recall": recall.mean(),
            "macro_f1": f1.mean(),
            "weighted_f1": (support * np.nan_to_num(f1)).sum() / len(t),
        }

    return figures


def by_class(
    labels: pd.Series, predicted: pd.Series, classes: Sequence[str]
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return precision, recall, F1 and support, each (classes,); NaN where one is not defined.

    F1 is 2 TP / (2 TP + FP + FN): 0 for a class that has test images and is never found.
    """
    precision, recall, f1, support = sk.precision_recall_fscore_support(
        labels, predicted, labels=list(classes), zero_division=np.nan
    )
    return precision, recall, np.where(support > 0, f1, np.nan), support


def per_class(predictions: pd.DataFrame, classes: Sequence[str], multi_label: bool = False) -> dict[str, PerClass]:
    """Return the figures of each class; null where one is not defined."""
    label, predicted = predictions["label"], predictions["predicted"]
    if multi_label:
        columns = multilabel.by_class(indicators(label, classes), indicators(predicted, classes))
    else:
        columns = by_class(label, predicted, classes)
    return {
        name: PerClass(precision=_null(p), recall=_null(r), f1=_null(f), support=int(n))
        for name, p, r, f, n in zip(classes, *columns, strict=True)
    }


def _null(value: float) -> float | None:
    return None if np.isnan(value) else float(value)


def table(found: dict[str, Interval]) -> pd.DataFrame:
    """Return intervals as a table, one row each, for reading."""
    rows = [interval.model_dump() for interval in found.values()]
    return pd.DataFrame(rows, index=pd.Index(found), columns=["value", "low", "high", "note"]).fillna({"note": ""})


def class_table(figures: dict[str, PerClass]) -> pd.DataFrame:
    """Return `per_class` as a table, worst F1 first, with the Wilson interval of each recall."""
    rows = []
    for name, found in figures.items():
        recall = intervals.proportion(round((found.recall or 0) * found.support), found.support)
        rows.append({"class": name, **found.model_dump(), "recall_low": recall.low, "recall_high": recall.high})
    order = ["precision", "recall", "recall_low", "recall_high", "f1", "support"]
    return pd.DataFrame(rows).set_index("class")[order].sort_values("f1", kind="stable")


def confusion(predictions: pd.DataFrame, classes: Sequence[str], multi_label: bool = False) -> list[list[int]]:
    """Count labels (rows) by predictions (columns), in the order of ``classes``.

    With several labels see `fastrec.evaluate.multilabel.confusion`.
    """
    label, predicted = predictions["label"], predictions["predicted"]
    if multi_label:
        return multilabel.confusion(indicators(label, classes), indicators(predicted, classes)).tolist()
    return sk.confusion_matrix(label, predicted, labels=list(classes)).tolist()
