"""Where the model is wrong, and the whole evaluation in words."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from fastrec import labels, plots
from fastrec.records import Candidate, Interval, Metrics

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def mistakes(predictions: pd.DataFrame) -> pd.DataFrame:
    """Return the wrong predictions, the surest first: a wrong label of the picture is often among them."""
    wrong = predictions[predictions["label"] != predictions["predicted"]]
    return wrong.sort_values(["score", "image_id"], ascending=[False, True], ignore_index=True)


def hardest(predictions: pd.DataFrame) -> pd.DataFrame:
    """Return the right predictions, the least sure first: what a small change would tip over."""
    right = predictions[predictions["label"] == predictions["predicted"]]
    return right.sort_values(["score", "image_id"], ignore_index=True)


def confused(predictions: pd.DataFrame, most: int = 10) -> pd.DataFrame:
    """Count the pairs of label and wrong prediction, the most frequent first; with several labels pairs of sets.

    Returns
    -------
    ``label``, ``predicted``, ``images`` and ``share`` of the label's images, 0 to 1.
    """
    support = predictions["label"].value_counts()
    pairs = mistakes(predictions).groupby(["label", "predicted"]).size().rename("images").reset_index()
    pairs["share"] = pairs["images"] / pairs["label"].map(support).astype(float)
    return pairs.sort_values(["images", "share", "label"], ascending=[False, False, True], ignore_index=True).head(most)


def confused_in_words(pairs: pd.DataFrame, most: int = 3, multi_label: bool = False) -> str:
    """Tell the first rows of :func:`confused` in one sentence."""
    if pairs.empty:
        return f"No test image is mistaken for another {'set of labels' if multi_label else 'class'}."
    if multi_label:
        pairs = pairs.assign(label=pairs["label"].map(labels.told), predicted=pairs["predicted"].map(labels.told))
    told = [
        f"{label} is taken for {predicted} {_times(images)} ({share:.1%} of {label})"
        for label, predicted, images, share in pairs.head(most).itertuples(index=False)
    ]
    return "Most often " + ", ".join(told) + "."


def matrix(metrics: Metrics) -> Figure:
    """Draw the confusion matrix of METRICS; with several labels per picture its axes say what is counted."""
    support = [figures.support for figures in metrics.per_class.values()]
    return plots.confusion(metrics.confusion, metrics.classes, support if metrics.multi_label else None)


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count} times"


def verdict(metrics: Metrics) -> str:
    """Tell METRICS in a few sentences: the answer, what it beats, where it is weak and who else was there."""
    whole = " (an answer is right if its whole set of labels is)" if metrics.multi_label else ""
    sentences = [f"{metrics.bundle} is right on {in_words(metrics.accuracy)} of {metrics.n} test images{whole}."]
    for name, baseline in metrics.baselines.items():
        sentences.append(f"Without training, {name} ({baseline.what}) is right on {in_words(baseline.accuracy)}.")
    found = {name: figures.f1 for name, figures in metrics.per_class.items() if figures.f1 is not None}
    weakest = min(found, key=lambda name: found[name])
    sentences.append(f"The weakest class is {weakest}, with an F1 of {found[weakest]:.3f}.")
    if empty := [name for name, figures in metrics.per_class.items() if not figures.support]:
        sentences.append(f"Nothing is known of {', '.join(empty)}: no test images.")
    sentences += [_against(other, metrics.bundle) for other in metrics.candidates if not other.chosen]
    return "\n".join(sentences)


def _against(other: Candidate, chosen: str) -> str:
    assert other.p_value is not None
    seen = "these images cannot tell them apart" if other.p_value >= 0.05 else "more than chance explains"
    gain = other.difference.value or 0.0
    return (
        f"{other.bundle} was not chosen on the valid split; on test it is right {abs(gain):.1%} "
        f"{'more' if gain > 0 else 'less'} often than {chosen} (McNemar p = {other.p_value:.2g}: {seen})."
    )


def in_words(share: Interval) -> str:
    """Tell a share and its interval in per cent."""
    if share.value is None:
        return f"an unknown share ({share.note})"
    if share.low is None or share.high is None:
        return f"{share.value:.1%}"
    return f"{share.value:.1%} (95 % interval {share.low:.1%} to {share.high:.1%})"
