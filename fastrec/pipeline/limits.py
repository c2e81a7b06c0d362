"""What a parameter's help ends with in square brackets: ``[1..]``, ``[0.01..0.9]`` or ``[light|strong]``."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

_NUMBER = r"[+-]?\d+(?:\.\d+)?(?:e[+-]?\d+)?"
_RANGE = re.compile(rf"({_NUMBER})?\.\.({_NUMBER})?")
_LAST_BRACKETS = re.compile(r"\[([^\[\]]*)\]\s*$")


@dataclass(frozen=True)
class Range:
    """From ``low`` to ``high``, both included; None leaves a side open."""

    low: float | None
    high: float | None

    def holds(self, value: Any) -> bool:
        """Say whether a number lies within; anything else does not."""
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            return False
        return (self.low is None or self.low <= value) and (self.high is None or value <= self.high)

    def __str__(self) -> str:
        if self.high is None:
            return f"{self.low:.15g} or more"
        return f"{self.high:.15g} or less" if self.low is None else f"from {self.low:.15g} to {self.high:.15g}"


@dataclass(frozen=True)
class Choice:
    """One of these words."""

    words: tuple[str, ...]

    def holds(self, value: Any) -> bool:
        """Say whether a value is, as it is written, one of the words."""
        return str(value) in self.words

    def __str__(self) -> str:
        return f"{', '.join(self.words[:-1])} or {self.words[-1]}"


def read_limits(text: str) -> Range | Choice | None:
    """Read the limits at the end of a help text; None if it ends otherwise.

    Raises
    ------
    ValueError
        If the brackets at its end look like limits and are none.
    """
    found = _LAST_BRACKETS.search(text)
    if not found or not ("|" in found[1] or ".." in found[1]):
        return None
    if "|" in found[1]:
        words = tuple(word.strip() for word in found[1].split("|"))
        if not all(words):
            raise ValueError(f"limits {found[0]} have an empty choice")
        return Choice(words)
    sides = _RANGE.fullmatch(found[1].replace(" ", "").lower())
    low, high = (float(side) if side else None for side in sides.groups()) if sides else (None, None)
    if (low is None and high is None) or (low is not None and high is not None and low > high):
        raise ValueError(f"limits {found[0]} are no range such as [1..] or [0.1..0.9]")
    return Range(low, high)


def within(limits: Range | Choice, value: Any) -> bool:
    """Say whether a value keeps to its limits: None always does, a list if all in it do."""
    if isinstance(value, list):
        return all(within(limits, item) for item in value)
    return value is None or limits.holds(value)
