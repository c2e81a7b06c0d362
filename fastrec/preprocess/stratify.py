"""Deal pictures so that each class is shared out as asked: by hash, so that no order of files matters."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping

import numpy as np

TRIES = 20  # orders, fewer where there are many units:
MOST = 100_000  # units dealt in all tries
Units = Mapping[str, Counter[str]]  # what stays together (a group, or one picture) -> its pictures of each class
Dealer = Callable[[Units, Mapping[str, int], Mapping[str, float], str], dict[str, str]]


def units(groups: Iterable[str], labels: Iterable[str]) -> dict[str, Counter[str]]:
    """Count the pictures of each class in each group."""
    found: dict[str, Counter[str]] = defaultdict(Counter)
    for group, label in zip(groups, labels, strict=True):
        found[group][label] += 1
    return found


def deal(free: Units, pictures: Mapping[str, int], shares: Mapping[str, float], seed: int) -> dict[str, str]:
    """Deal units with one label per picture in hash order, each to the part that lacks most of its label.

    Where that leaves a part without a label that it could have, they are dealt as :func:`deal_sets` does.

    Parameters
    ----------
    free
        What is dealt.
    pictures
        How many pictures each unit has.
    shares
        Name of each part -> its share; they are made to sum to 1.
    seed
        Changes the order of the hashes.

    Returns
    -------
    Unit -> name of its part.
    """
    return _best(_most_lacking, free, pictures, shares, seed)


def deal_sets(free: Units, pictures: Mapping[str, int], shares: Mapping[str, float], seed: int) -> dict[str, str]:
    """Deal units whose pictures have several labels or none; parameters and result as in :func:`deal`.

    Iterative stratification (Sechidis, Tsoumakas and Vlahavas 2011,
    https://doi.org/10.1007/978-3-642-23808-6_10): always the label with the fewest pictures left, each of
    them to the part that lacks it most, among equals to the one that lacks most of its other labels, then
    most pictures.  Where that leaves a part without a label that it should have, other orders of the
    hashes are tried.
    """
    return _best(_rarest_first, free, pictures, shares, seed)


def _best(
    dealer: Dealer, free: Units, pictures: Mapping[str, int], shares: Mapping[str, float], seed: int
) -> dict[str, str]:
    """Return unit -> part of the first order in which the fewest parts lack a label that they could have."""
    having = Counter(label for counts in free.values() for label in +counts)
    asked = sum(min(count, len(shares)) for count in having.values())
    most, best = -1, dict[str, str]()
    for attempt in range(max(2, min(TRIES, MOST // max(1, len(free))))):
        place = (_rarest_first if attempt else dealer)(free, pictures, shares, f"{seed}{'+' * attempt}")
        if (served := len({(part, label) for unit, part in place.items() for label in +free[unit]})) > most:
            most, best = served, place
        if most == asked:
            break
    return best


def _most_lacking(free: Units, pictures: Mapping[str, int], shares: Mapping[str, float], seed: str) -> dict[str, str]:
    names, wanted = list(shares), _wanted(_total(free), shares)
    place: dict[str, str] = {}
    for unit in sorted(free, key=_large_first(pictures, seed)):
        lack = sum(wanted[label] * count for label, count in free[unit].items())
        part = int(np.argmax(lack))
        place[unit] = names[part]
        _give(wanted, part, free[unit])
    return place


def _rarest_first(free: Units, pictures: Mapping[str, int], shares: Mapping[str, float], seed: str) -> dict[str, str]:
    names, left, order = list(shares), _total(free), _large_first(pictures, seed)
    wanted = _wanted(left, shares)
    room = _quotas(sum(pictures[unit] for unit in free), _weights(shares))
    place: dict[str, str] = {}
    having: dict[str, list[str]] = defaultdict(list)
    for unit, counts in free.items():
        for label in counts:
            having[label].append(unit)
    while left := +left:
        rarest = min(left, key=lambda label: (left[label], label))
        for unit in sorted((unit for unit in having[rarest] if unit not in place), key=order):
            lack = [
                (wanted[rarest][k], sum(wanted[label][k] for label in free[unit]), room[k]) for k in range(len(names))
            ]
            part = lack.index(max(lack))
            place[unit] = names[part]
            _give(wanted, part, free[unit])
            room[part] -= pictures[unit]
            left.subtract(free[unit])
    return place


def _give(wanted: dict[str, np.ndarray], part: int, counts: Counter[str]) -> None:
    for label, count in counts.items():
        wanted[label][part] -= count


def _large_first(pictures: Mapping[str, int], seed: int | str) -> Callable[[str], tuple[int, bytes]]:
    """Return the order of dealing: large units first, the small ones then even out what those upset."""
    return lambda unit: (-pictures[unit], hashlib.sha256(f"{seed}\0{unit}".encode()).digest())


def _total(free: Units) -> Counter[str]:
    total: Counter[str] = Counter()
    for counts in free.values():
        total.update(counts)
    return total


def _weights(shares: Mapping[str, float]) -> np.ndarray:
    return np.array(list(shares.values())) / sum(shares.values())


def _wanted(total: Mapping[str, int], shares: Mapping[str, float]) -> dict[str, np.ndarray]:
    return {label: _quotas(count, _weights(shares)) for label, count in total.items()}


def _quotas(count: int, weights: np.ndarray) -> np.ndarray:
    """Share ``count`` images out by largest remainder, with at least one for each split where they suffice."""
    exact = count * weights
    quotas = np.floor(exact)
    quotas[np.argsort(quotas - exact, kind="stable")[: round(count - quotas.sum())]] += 1
    while count >= len(weights) and quotas.min() < 1:
        quotas[quotas.argmax()] -= 1
        quotas[quotas.argmin()] += 1
    return quotas
