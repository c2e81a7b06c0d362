"""One label or several as one text: how the tables behind the split write the labels of a picture."""

from __future__ import annotations

from collections.abc import Iterable, Sequence, Sized

import numpy as np

SEPARATOR = "|"
NONE = "no label"  # what people read where a picture has none


def several(lists: Iterable[Sized]) -> bool:
    """Say whether a set of pictures is multi-label: any of them has a number of labels other than one."""
    return any(len(labels) != 1 for labels in lists)


def join(labels: Iterable[str]) -> str:
    """Write labels as one text, sorted: ``cat`` or ``cat|dog``."""
    return SEPARATOR.join(sorted(labels))


def split(text: str) -> list[str]:
    """Read what :func:`join` wrote."""
    return text.split(SEPARATOR) if text else []


def each(text: str, multi_label: bool) -> list[str]:
    """Return the labels that a text stands for; where each picture has one label, a ``|`` is part of its name."""
    return split(text) if multi_label else [text]


def told(text: str) -> str:
    """Write joined labels for people: ``cat + dog``, or ``no label``."""
    return " + ".join(split(text)) or NONE


def indicators(texts: Iterable[str], classes: Sequence[str]) -> np.ndarray:
    """Return a bool matrix (n, classes): which classes each text names."""
    place = {name: k for k, name in enumerate(classes)}
    listed = [split(text) for text in texts]
    found = np.zeros((len(listed), len(classes)), bool)
    for row, names in enumerate(listed):
        found[row, [place[name] for name in names]] = True
    return found


def answers(
    scores: np.ndarray, classes: Sequence[str], thresholds: Sequence[float] | None
) -> tuple[np.ndarray, np.ndarray]:
    """Return what probabilities speak for, and how probable the model itself calls that answer.

    Parameters
    ----------
    scores, classes
        Probabilities (n, classes), in the order of ``classes``.
    thresholds
        None for one label per picture: the likeliest, with its probability.  One for each class for
        several labels: all that reach their threshold, with the product of the probabilities of all
        decisions, that is, of the whole set being right if labels are independent of each other.

    Returns
    -------
    Texts, object (n,), and probabilities (n,).
    """
    names = np.array(classes, object)
    if thresholds is None:
        best = scores.argmax(1)
        return names[best], scores[np.arange(len(scores)), best]
    held = scores >= np.asarray(thresholds)
    texts = np.array([join(names[row]) for row in held], object)
    return texts, np.where(held, scores, 1 - scores).prod(1)
