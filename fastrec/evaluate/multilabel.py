"""The figures of answers that are sets of labels: every class is a question of its own with yes or no."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from sklearn import metrics as sk


def points(truth: np.ndarray, guess: np.ndarray) -> dict[str, float]:
    """Return the figures of sets of labels.

    Accuracy is the share of sets that are right as a whole; a class's balanced accuracy is the mean of its
    recall and of the share of the other pictures that are not said to show it.

    Parameters
    ----------
    truth, guess
        Indicators of the labels and of the answers, bool (n, classes).
    """
    precision, recall, f1, support = by_class(truth, guess)
    return {
        "accuracy": float(sk.accuracy_score(truth, guess)),
        "balanced_accuracy": float(((recall + _specificity(truth, guess)) / 2).mean()),
        "macro_precision": float(precision.mean()),
        "macro_recall": float(recall.mean()),
        "macro_f1": float(f1.mean()),
        "weighted_f1": float(np.average(np.nan_to_num(f1), weights=support)) if support.any() else np.nan,
    }


def by_class(truth: np.ndarray, guess: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return precision, recall, F1 and support, each (classes,); NaN where one is not defined."""
    # one class alone scikit-learn takes for two, no and yes
    asked = [1] if truth.shape[1] == 1 else None
    precision, recall, f1, support = sk.precision_recall_fscore_support(
        truth.astype(int), guess.astype(int), labels=asked, zero_division=np.nan
    )
    return precision, recall, np.where(support > 0, f1, np.nan), support


def _specificity(truth: np.ndarray, guess: np.ndarray) -> np.ndarray:
    with np.errstate(invalid="ignore"):
        return (~truth & ~guess).sum(0) / (~truth).sum(0)


def of_drawn(truth: np.ndarray, guess: np.ndarray) -> Callable[[np.ndarray], dict[str, float]]:
    """Return the figures of :func:`points` as a function of which pictures are drawn; NaN where undefined."""
    classes, right = truth.shape[1], (truth == guess).all(1)
    columns = np.concatenate([truth & guess, truth, guess, right[:, None]], 1).astype(float)

    def figures(drawn: np.ndarray) -> dict[str, float]:
        n = len(drawn)
        sums = np.bincount(drawn, minlength=n) @ columns  # how often each was drawn: one product for all counts
        hits, support, named = sums[:-1].reshape(3, classes)
        with np.errstate(invalid="ignore"):
            recall, precision = hits / support, hits / named
            f1 = np.where(support > 0, 2 * hits / (support + named), np.nan)
            specificity = (n - support - named + hits) / (n - support)
            weighted = (support * np.nan_to_num(f1)).sum() / support.sum()
        return {
            "accuracy": sums[-1] / n,
            "balanced_accuracy": ((recall + specificity) / 2).mean(),
            "macro_precision": precision.mean(),
            "macro_recall": recall.mean(),
            "macro_f1": f1.mean(),
            "weighted_f1": weighted,
        }

    return figures


def losses(truth: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """Return the binary cross entropy of each picture, the mean over the classes, float (n,)."""
    told = np.clip(np.where(truth, scores, 1 - scores), np.finfo(float).eps, 1.0)
    return -np.log(told).mean(1)


def confusion(truth: np.ndarray, guess: np.ndarray) -> np.ndarray:
    """Count, of the pictures labelled ``i``, those whose answer wrongly holds ``j``; on the diagonal, holds ``i``.

    Returns
    -------
    int, (classes, classes): rows are labels, columns are answers; the rows do not sum to the support.
    """
    wrong = (guess & ~truth).astype(int)
    return truth.astype(int).T @ wrong + np.diag((truth & guess).sum(0))
