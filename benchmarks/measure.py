"""What every benchmark shares: alternate the contestants, then print medians, ratios, n, spread and versions."""

from __future__ import annotations

import os
import platform
import statistics
import time
import zipfile
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path


def alternate(contestants: dict[str, Callable[[], float]], rounds: int) -> dict[str, list[float]]:
    """Call every contestant once per round, so that a slow minute of the machine meets all of them."""
    found: dict[str, list[float]] = {name: [] for name in contestants}
    for _ in range(rounds):
        for name, run in contestants.items():
            found[name].append(run())
    return found


def rate(work: Callable[[], int]) -> float:
    """Return how many items per second ``work`` did; it returns their number."""
    began = time.perf_counter()
    count = work()
    return count / (time.perf_counter() - began)


def report(
    title: str, unit: str, found: dict[str, list[float]], ours: str | None, libraries: tuple[str, ...], digits: int = 1
) -> None:
    """Print a line per contestant; where one is ours, with the median ratio, round by round, of ours to it."""
    print(f"\n{title}")
    for name, values in found.items():
        ratios = [mine / theirs for mine, theirs in zip(found[ours or name], values, strict=True)]
        ratio = (
            ""
            if ours in (None, name)
            else f"  ours is {statistics.median(ratios):.2f}x ({min(ratios):.2f} to {max(ratios):.2f})"
        )
        print(
            f"  {name:28s} {statistics.median(values):10.{digits}f} {unit} "
            f"({min(values):.{digits}f} to {max(values):.{digits}f}, n={len(values)}){ratio}"
        )
    machine(libraries)


def machine(libraries: tuple[str, ...]) -> None:
    """Print what was measured on, and with which versions."""
    versions = ", ".join(f"{name} {version(name)}" for name in libraries)
    print(f"  {platform.machine()}, {os.cpu_count()} processors, Python {platform.python_version()}, {versions}")


def unzipped(archive: Path, folder: Path, most: int | None) -> Path:
    """Unzip class folders, of each class the first ``most`` pictures, and return the folder that holds the classes."""
    with zipfile.ZipFile(archive) as opened:
        members: dict[str, list[str]] = {}
        for member in sorted(opened.namelist()):
            if member.lower().endswith((".jpg", ".jpeg")):
                members.setdefault(member.rpartition("/")[0], []).append(member)
        for found in members.values():
            opened.extractall(folder, found[:most])
    return folder / "train"
