"""What a model card says: figures from METRICS, and an honest word where there are none."""

from __future__ import annotations

import re

import pandas as pd

from fastrec import labels
from fastrec.artefacts import CACHE, MANIFEST, METRICS, SPLITS
from fastrec.bundle import Bundle
from fastrec.records import BundleRecord, Interval, Metrics
from fastrec.run import Run

_ONE = {
    "many": "",
    "link": "softmax",
    "answer": "Each picture gets exactly one of the\nclasses above, also one that shows none of them: "
    "a score near 1 does not say that the picture belongs here.",
}
_SEVERAL = {
    "many": ": several, one or none (multi-label)",
    "link": "sigmoid, each class on its own",
    "answer": "Each picture gets all\nclasses that reach their threshold, none where none does: thresholds were chosen "
    "on the valid split for the highest F1.",
}
_FIGURES = ("accuracy", "balanced_accuracy", "macro_f1", "log_loss", "ece")


def values(run: Run, bundle: Bundle, sha256: str) -> dict[str, str]:
    """Return what fills the places of the template ``MODEL_CARD.md``."""
    record = bundle.record
    return {
        "bundle": bundle.label,
        "run": record.run,
        "created": record.created[:10],
        "architecture": record.architecture,
        "parameters": f"{record.parameters:,}",
        "sha256": sha256,
        "size": str(record.preprocessing.size),
        "resize": record.preprocessing.resize + (", in grey" if record.preprocessing.channels == 1 else ""),
        "temperature": f"{record.temperature:.3g}",
        "count": str(len(record.classes)),
        **(_SEVERAL if record.multi_label else _ONE),
        "classes": ", ".join(_with_threshold(record, number) for number in range(len(record.classes))),
        "data": _data(run),
        "figures": _figures(run, bundle),
    }


def _with_threshold(record: BundleRecord, number: int) -> str:
    name = plain(record.classes[number])
    return name if record.thresholds is None else f"{name} (from {record.thresholds[number]:.3f})"


def plain(text: str) -> str:
    """Write text so that Markdown shows it as it is, on one line."""
    return re.sub(r"([\\`*_{}\[\]()<>#+!|$~&-])", r"\\\1", " ".join(text.split()))


def _data(run: Run) -> str:
    if not (run.has(MANIFEST) and run.has(SPLITS)):
        return "The run keeps no record of the pictures any more."
    splits, sources = run.read(SPLITS), run.read(MANIFEST)["source"].unique()
    counts = splits["split"].value_counts()
    parts = ", ".join(f"{counts[name]} {name}" for name in ("train", "valid", "test") if name in counts)
    rarest, often = _single_labels(run, splits).value_counts().iloc[[-1, 0]]
    return (
        f"{len(splits)} pictures from {', '.join(plain(s) for s in sources)}: {parts}. "
        f"The rarest class has {rarest} pictures, the most frequent {often}."
    )


def _single_labels(run: Run, splits: pd.DataFrame) -> pd.Series:
    if not run.read(CACHE).multi_label:
        return splits["label"]
    return splits["label"].map(labels.split).explode().dropna()


def _figures(run: Run, bundle: Bundle) -> str:
    metrics: Metrics | None = run.read(METRICS) if run.has(METRICS) else None
    if metrics is None or metrics.bundle != bundle.label:
        measured = ", ".join(f"{name} {value:.4f}" for name, value in sorted(bundle.record.valid.items()))
        return f"Not measured on the test split. On the valid split, which guided its choice: {measured or 'nothing'}."
    whole = " (accuracy: the whole set of labels is right)" if metrics.multi_label else ""
    lines = [
        f"On {metrics.n} pictures of the test split that no training saw, with 95 % bootstrap intervals{whole}:",
        "",
        "| figure | value | interval |",
        "|---|---|---|",
        *(_row(name, getattr(metrics, name)) for name in _FIGURES),
        "",
        "| class | precision | recall | pictures |",
        "|---|---|---|---|",
        *(
            f"| {plain(name)} | {_number(each.precision)} | {_number(each.recall)} | {each.support} |"
            for name, each in metrics.per_class.items()
        ),
    ]
    return "\n".join(lines)


def _row(name: str, interval: Interval) -> str:
    span = "" if interval.low is None else f"{_number(interval.low)} to {_number(interval.high)}"
    return f"| {name.replace('_', ' ')} | {_number(interval.value)} | {span} |"


def _number(value: float | None) -> str:
    return "not defined" if value is None else f"{value:.4f}"
