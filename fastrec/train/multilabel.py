"""What training needs where a picture may have several labels: figures, and a threshold for each class."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from fastai.learner import Metric
from fastai.metrics import ActivationType, skm_to_fastai
from sklearn.metrics import f1_score, precision_recall_curve

HALF = 0.5  # the threshold before there are any, and of a class that valid has no pictures of


def accuracy(logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Return the share of pictures whose set of labels is right as a whole, at one half for every class."""
    return ((logits >= 0) == target.bool()).all(1).float().mean()


def macro_f1(classes: int) -> Metric:
    """Return the mean F1 of the classes at one half; a class that is neither there nor named counts 0."""
    how = {"is_class": False, "thresh": HALF, "activation": ActivationType.Sigmoid}
    return skm_to_fastai(f1_score, **how, **_mean(classes))


def _mean(classes: int) -> dict[str, Any]:
    """Return scikit-learn's settings: one class alone it would take for two, no and yes."""
    return {"average": "macro", "zero_division": 0.0, "labels": [1] if classes == 1 else None}


def thresholds(scores: np.ndarray, truth: np.ndarray) -> list[float]:
    """Choose for each class the threshold with the highest F1 (Lipton et al. 2014, https://arxiv.org/abs/1402.1892).

    Each lies in the middle between the two neighbouring scores that it parts, so that pictures a little
    different fall on the same side; among equals it is the one nearest to one half.

    Parameters
    ----------
    scores
        Probabilities of the valid pictures, (n, classes).
    truth
        Their labels, bool (n, classes).
    """
    return [_threshold(scores[:, k], truth[:, k]) for k in range(scores.shape[1])]


def _threshold(scores: np.ndarray, truth: np.ndarray) -> float:
    if not truth.any():
        return HALF
    precision, recall, cuts = precision_recall_curve(truth, scores)  # a cut is the lowest score that still counts
    f1 = 2 * precision * recall / np.maximum(precision + recall, np.finfo(float).tiny)
    below = np.concatenate([[0.0], cuts[:-1]])
    middles = ((below + cuts) / 2)[np.isclose(f1[:-1], f1[:-1].max(), rtol=0, atol=1e-12)]
    return float(middles[np.abs(middles - HALF).argmin()])


def figures(scores: np.ndarray, truth: np.ndarray, limits: list[float]) -> dict[str, float]:
    """Return accuracy (of whole sets) and macro F1 of the answers that thresholds give."""
    held = scores >= np.array(limits)
    f1 = f1_score(truth.astype(int), held.astype(int), **_mean(truth.shape[1]))
    return {"accuracy": float((held == truth).all(1).mean()), "macro_f1": float(f1)}
