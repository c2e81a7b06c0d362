"""Figures in words that a reader outside the field takes in at once."""

from __future__ import annotations

from collections.abc import Sequence

from fastrec.records import Interval


def count(number: float) -> str:
    """Return 1797 as ``1,797``."""
    return f"{number:,.0f}"


def seconds(duration: float) -> str:
    """Return a duration in its two largest units: ``0.4 s``, ``42 s``, ``3 min 5 s``, ``1 h 2 min``."""
    if duration < 10:
        return f"{duration:.1f} s"
    whole = round(duration)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def size(number: float) -> str:
    """Return a number of bytes in decimal units: ``3.1 MB``."""
    for unit in ("bytes", "kB", "MB"):
        if number < 1000:
            return f"{number:.0f} {unit}" if unit == "bytes" or number >= 100 else f"{number:.1f} {unit}"
        number /= 1000
    return f"{number:.1f} GB"


def of_hundred(interval: Interval) -> tuple[str, str]:
    """Return a share as ``about 98`` of a hundred, and its interval as ``97 to 99``.

    A decimal is shown where the interval is so narrow that whole numbers would hide it.
    """
    value, low, high = interval.value, interval.low, interval.high
    if value is None:
        return "an unknown number", ""
    if low is None or high is None:
        return f"about {_percent(value, 0)}", ""
    digits = 1 if high - low < 0.04 else 0
    return f"about {_percent(value, digits)}", f"{_percent(low, digits)} to {_percent(high, digits)}"


def _percent(share: float, digits: int) -> str:
    return f"{100 * share:.{digits}f}"


def figure(interval: Interval, digits: int = 3) -> str:
    """Return ``0.981 (0.972 to 0.989)``, or a dash where the figure is not defined."""
    if interval.value is None:
        return "–"
    if interval.low is None or interval.high is None:
        return f"{interval.value:.{digits}f}"
    return f"{interval.value:.{digits}f} ({interval.low:.{digits}f} to {interval.high:.{digits}f})"


def listing(names: Sequence[str], most: int = 12) -> str:
    """Return names in a row, the many shortened to the first and the number of the rest."""
    if len(names) <= most:
        return ", ".join(names)
    return f"{', '.join(names[: most - 1])} and {count(len(names) - most + 1)} more"


def plural(number: int, noun: str) -> str:
    """Return ``1 picture`` or ``1,797 pictures``."""
    return f"{count(number)} {noun}" + ("" if number == 1 else "es" if noun.endswith("s") else "s")
