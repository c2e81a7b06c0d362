"""One label or several as one text: how the tables behind the split write the labels of a picture."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

SEPARATOR = "|"


def join(labels: Iterable[str]) -> str:
    """Write labels as one text, sorted: ``cat`` or ``cat|dog``."""
    return SEPARATOR.join(sorted(labels))


def split(text: str) -> list[str]:
    """Read what :func:`join` wrote."""
    return text.split(SEPARATOR) if text else []


def indicators(texts: Iterable[str], classes: Sequence[str]) -> np.ndarray:
    """Return a bool matrix (n, classes): which classes each text names."""
    place = {name: k for k, name in enumerate(classes)}
    listed = [split(text) for text in texts]
    found = np.zeros((len(listed), len(classes)), bool)
    for row, names in enumerate(listed):
        found[row, [place[name] for name in names]] = True
    return found
