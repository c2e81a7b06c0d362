"""Several runs side by side: figures, the parameters that differ, and whether they may be compared at all."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from fastrec.artefacts import DEPLOYMENT, METRICS, SPLITS, STAGES
from fastrec.files import FastrecError
from fastrec.records import DeployRecord, Interval, Metrics
from fastrec.report import words
from fastrec.run import Run

_METRICS = {
    "accuracy": "Accuracy",
    "balanced_accuracy": "Balanced accuracy",
    "macro_f1": "Macro F1",
    "weighted_f1": "Weighted F1",
    "log_loss": "Log loss",
    "ece": "Calibration error (ECE)",
}
_SMALLER_IS_BETTER = {"log_loss", "ece"}


@dataclass(frozen=True)
class Row:
    """A line of a table: its name, a text per run, and which runs are the best in it."""

    name: str
    texts: list[str]
    best: list[bool]


@dataclass(frozen=True)
class Comparison:
    """What the page of several runs shows."""

    runs: list[str]
    warnings: list[str]
    intervals: list[Interval | None]  # of the accuracy
    metrics: list[Row]
    cost: list[Row]
    parameters: list[Row]


@dataclass(frozen=True)
class _Side:
    run: Run
    metrics: Metrics | None
    deployment: DeployRecord | None
    data: str | None  # checksum of the test pictures and their labels
    parameters: dict[str, str]
    seconds: float
    peak_memory: int


def compare(runs: Sequence[Run]) -> Comparison:
    """Set runs side by side; warns where their figures do not speak of the same pictures.

    Raises
    ------
    FastrecError
        If a run has not begun, or one of its artefacts is damaged.
    """
    sides = [_side(run) for run in runs]
    warnings = _warnings(sides)
    return Comparison(
        runs=[side.run.name for side in sides],
        warnings=warnings,
        intervals=[side.metrics.accuracy if side.metrics else None for side in sides],
        metrics=_metric_rows(sides, comparable=not warnings),
        cost=_cost_rows(sides),
        parameters=_parameter_rows(sides),
    )


def _side(run: Run) -> _Side:
    records = [record for record in map(run.record, STAGES) if record]
    if not records:
        raise FastrecError(f"run {run.name!r} has not begun: run it with `fastrec run --run {run.name}`.")
    return _Side(
        run,
        run.read(METRICS) if run.has(METRICS) else None,
        run.read(DEPLOYMENT) if run.has(DEPLOYMENT) else None,
        _test_fingerprint(run) if run.has(SPLITS) else None,
        {
            f"{record.stage}.{name}": repr(value)
            for record in records
            for name, value in record.parameters.items()
            if name != "run_name"
        },
        sum(record.seconds for record in records),
        max(record.peak_memory for record in records),
    )


def _test_fingerprint(run: Run) -> str:
    splits = run.read(SPLITS)
    test = splits[splits["split"] == "test"].sort_values("image_id")
    lines = "\n".join(f"{image}\0{label}" for image, label in zip(test["image_id"], test["label"], strict=True))
    return hashlib.sha256(lines.encode()).hexdigest()


def _warnings(sides: list[_Side]) -> list[str]:
    found = [f"{side.run.name} has no figures yet: evaluate has not run." for side in sides if not side.metrics]
    if len({side.data for side in sides if side.metrics}) > 1:
        found.append(
            "The runs were tested on different pictures, so their figures are not comparable: a difference may "
            "come from the pictures alone. Use the same source, limit, seed and split for all of them."
        )
    return found


def _metric_rows(sides: list[_Side], comparable: bool) -> list[Row]:
    rows = []
    for name, title in _METRICS.items():
        intervals = [getattr(side.metrics, name) if side.metrics else Interval(value=None) for side in sides]
        values = [interval.value for interval in intervals]
        best = _best(values, smaller=name in _SMALLER_IS_BETTER) if comparable else [False] * len(sides)
        rows.append(Row(title, [words.figure(interval) for interval in intervals], best))
    return rows


def _best(values: Sequence[float | None], smaller: bool = True) -> list[bool]:
    """Mark the best values, but none where all are equal or only one is known."""
    known = {value for value in values if value is not None}
    if len(known) < 2:
        return [False] * len(values)
    wanted = min(known) if smaller else max(known)
    return [value == wanted for value in values]


def _cost_rows(sides: list[_Side]) -> list[Row]:
    speeds = [side.deployment.speed if side.deployment else None for side in sides]
    lines: list[tuple[str, list[Any], Any]] = [
        ("Time of all stages", [side.seconds for side in sides], words.seconds),
        ("Peak memory", [side.peak_memory for side in sides], words.size),
        ("One picture, median", [speed and speed.milliseconds_median for speed in speeds], lambda ms: f"{ms:.1f} ms"),
        ("Model on disk", [speed and speed.model_bytes for speed in speeds], words.size),
        ("Package on disk", [speed and speed.package_bytes for speed in speeds], words.size),
    ]
    rows = [
        Row(title, ["–" if value is None else told(value) for value in values], _best(values))
        for title, values, told in lines
    ]
    tested = [side.metrics for side in sides]
    nothing = [False] * len(sides)
    return [
        Row("Chosen model", [metrics.bundle if metrics else "–" for metrics in tested], nothing),
        Row("Test pictures", [words.count(metrics.n) if metrics else "–" for metrics in tested], nothing),
        *rows,
    ]


def _parameter_rows(sides: list[_Side]) -> list[Row]:
    names = list(dict.fromkeys(name for side in sides for name in side.parameters))
    rows = [Row(name, [side.parameters.get(name, "–") for side in sides], [False] * len(sides)) for name in names]
    return [row for row in rows if len(set(row.texts)) > 1]
