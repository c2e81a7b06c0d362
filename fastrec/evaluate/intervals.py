"""How far a figure could lie from its value on other images of the same kind: 95 % intervals."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Literal

import numpy as np

from fastrec.files import FastrecError
from fastrec.records import Interval

FEWEST = 100
LEVEL = 0.95


def resample(
    statistics: Callable[[np.ndarray], Mapping[str, float]], n: int, n_boot: int, seed: int
) -> dict[str, np.ndarray]:
    """Compute statistics on images drawn with replacement (Efron 1979, https://doi.org/10.1214/aos/1176344552).

    The same ``n``, ``n_boot`` and ``seed`` draw the same images, so that two models' draws are paired.

    Parameters
    ----------
    statistics
        Takes the numbers of the drawn images, int (n,), and returns figures by name; NaN where one
        is not defined.
    n
        How many images there are.
    n_boot
        How many resamples.
    seed
        Of the random draws.

    Returns
    -------
    Per name float, (n_boot,).

    Raises
    ------
    FastrecError
        If ``n_boot`` is too small for an interval.
    """
    if n_boot < FEWEST:
        raise FastrecError(f"bootstrap is {n_boot}: take {FEWEST} or more, or the ends of an interval rest on nothing.")
    source = np.random.default_rng(seed)
    draws = [statistics(source.integers(n, size=n)) for _ in range(n_boot)]
    return {name: np.array([draw[name] for draw in draws]) for name in draws[0]}


def percentile(value: float, draws: np.ndarray) -> Interval:
    """Return a figure with the middle 95 % of its resampled values (percentile interval).

    Always ``low <= value <= high``; a note says where the resamples fall short of an honest interval.
    """
    defined = draws[np.isfinite(draws)]
    if len(defined) < FEWEST / 2:
        return Interval(value=value, note="no interval: not defined in most resamples")
    if np.ptp(defined) == 0:
        return Interval(value=value, note="no interval: all resamples give the same value")
    low, high = np.percentile(defined, [50 * (1 - LEVEL), 50 * (1 + LEVEL)])
    notes = []
    if len(defined) < len(draws):
        notes.append(f"not defined in {1 - len(defined) / len(draws):.0%} of the resamples")
    if not low <= value <= high:
        notes.append("interval widened to the value: resampling pushes this figure to one side")
    return Interval(value=value, low=min(low, value), high=max(high, value), note="; ".join(notes) or None)


def proportion(right: int, n: int, method: Literal["wilson", "exact"] = "wilson") -> Interval:
    """Return a share with its binomial interval, which has a width even where all or none are right.

    ``wilson`` after Wilson 1927 (https://doi.org/10.1080/01621459.1927.10502953), ``exact`` after
    Clopper and Pearson 1934 (https://doi.org/10.1093/biomet/26.4.404).
    """
    from scipy.stats import binomtest

    if n == 0:
        return Interval(value=None, note="no images")
    found = binomtest(right, n).proportion_ci(LEVEL, method)
    return Interval(value=right / n, low=float(found.low), high=float(found.high))
