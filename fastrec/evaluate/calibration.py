"""Does a score of 0.9 mean right nine times in ten?  Reliability, expected calibration error and Brier score."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from fastrec.labels import indicators

BINS = 15


def bin_numbers(scores: np.ndarray, bins: int = BINS) -> np.ndarray:
    """Sort scores into bins of about equally many images (Nixon et al. 2019, https://arxiv.org/abs/1904.01685).

    Equal scores stay in one bin, so the result does not depend on the order of the images; where many
    are equal there are fewer bins.

    Returns
    -------
    int, (n,): 0 for the lowest scores.
    """
    edges = np.unique(np.quantile(scores, np.linspace(0, 1, bins + 1)[1:-1]))
    _, numbers = np.unique(np.searchsorted(edges, scores), return_inverse=True)
    return numbers


def reliability(predictions: pd.DataFrame, bins: int = BINS) -> pd.DataFrame:
    """Compare score and accuracy, bin by bin.

    Returns
    -------
    One row per bin: ``images``, ``lowest``, ``highest``, ``score`` (mean) and ``accuracy``.
    """
    right = predictions["label"] == predictions["predicted"]
    table = predictions.assign(right=right, bin=bin_numbers(predictions["score"].to_numpy(), bins))
    return table.groupby("bin").agg(
        images=("score", "size"),
        lowest=("score", "min"),
        highest=("score", "max"),
        score=("score", "mean"),
        accuracy=("right", "mean"),
    )


def ece(right: np.ndarray, scores: np.ndarray, numbers: np.ndarray) -> float:
    """Return the expected calibration error: the mean gap of score and accuracy over bins.

    Naeini et al. 2015 (https://doi.org/10.1609/aaai.v29i1.9602), as used by Guo et al. 2017
    (https://arxiv.org/abs/1706.04599).  Its value is biased upward in small samples, since chance
    opens a gap in every bin.

    Parameters
    ----------
    right
        bool, (n,): the prediction is the label.
    scores
        float, (n,): the probability of the prediction.
    numbers
        int, (n,): each image's bin, of :func:`bin_numbers`.
    """
    gaps = np.bincount(numbers, weights=right - scores)
    return float(np.abs(gaps).sum() / len(scores))


def brier(predictions: pd.DataFrame, classes: Sequence[str], multi_label: bool = False) -> float:
    """Return the mean squared distance of the scores from the truth, 0 (best) to 2; with several labels, to 1.

    Brier 1950 (https://doi.org/10.1175/1520-0493(1950)078<0001:VOFEIT>2.0.CO;2); with several labels that
    of each class on its own, and their mean.
    """
    from sklearn.metrics import brier_score_loss, mean_squared_error

    scores = np.stack(predictions["scores"].to_list())
    if multi_label:
        return float(mean_squared_error(indicators(predictions["label"], classes), scores))
    return float(brier_score_loss(predictions["label"], scores, labels=list(classes), scale_by_half=False))


def verdict(predictions: pd.DataFrame) -> str:
    """Say in one sentence whether the scores can be taken at their word."""
    right = predictions["label"] == predictions["predicted"]
    mean, share = predictions["score"].mean(), right.mean()
    # Each answer is a coin with its own score as chance: the variance of their mean, were the scores true.
    noise = 1.96 * np.sqrt((predictions["score"] * (1 - predictions["score"])).sum()) / len(predictions)
    told = f"the mean score is {mean:.1%} and {share:.1%} of the answers are right"
    if abs(mean - share) <= noise:
        return f"Scores agree with the share of right answers within chance: {told}."
    return f"The model is {'over' if mean > share else 'under'}confident: {told}."
