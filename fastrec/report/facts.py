"""What a run's index says, gathered from whatever artefacts are there."""

from __future__ import annotations

import base64
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from fastrec import labels
from fastrec.artefacts import (
    CARD,
    DEPLOYMENT,
    DRIFT,
    IMAGES,
    MANIFEST,
    METRICS,
    PACKAGE,
    PREDICTIONS,
    QUALITY,
    REJECTED,
    SPLITS,
    SPLITS_ORDER,
    STAGES,
    stage_folder,
)
from fastrec.collect import card
from fastrec.files import FastrecError
from fastrec.plots import png
from fastrec.preprocess.splits import counts, leaks
from fastrec.records import DeployRecord, Drift, Metrics, StageRecord
from fastrec.run import Run, home

MOST_CLASSES = 30
MOST_MISTAKES = 12


@dataclass(frozen=True)
class StageFact:
    """A stage as the index lists it."""

    stage: str
    record: StageRecord | None
    page: str | None
    outdated: bool  # what it read has been made anew since


@dataclass(frozen=True)
class Confusion:
    """How often pictures of one class were taken for another."""

    label: str
    predicted: str
    count: int
    of: int


@dataclass(frozen=True)
class Mistake:
    """A test picture that was named wrongly."""

    image: str  # data URI
    label: str
    predicted: str
    score: float


@dataclass
class Facts:
    """All that the index shows; what is None or empty has not been made yet."""

    run: str
    stages: list[StageFact]
    metrics: Metrics | None = None
    deployment: DeployRecord | None = None
    drift: Drift | None = None
    source: str | None = None
    served: str | None = None  # label of the bundle in the package
    pictures: int | None = None  # how many were collected
    leaks: int = 0  # what stands on more than one side of the split
    learnt: int = 0  # how many pictures the model learns from; 0 before there is a split
    multi_label: bool = False  # a picture may have several labels
    class_counts: list[tuple[str, dict[str, int]]] = field(default_factory=list)  # per class, per split
    rejected: list[tuple[str, int, str]] = field(default_factory=list)  # code, how many, an example
    issues: list[tuple[str, int]] = field(default_factory=list)
    card: str = ""  # the data card as HTML whose texts are escaped
    confusions: list[Confusion] = field(default_factory=list)
    mistakes: list[Mistake] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)  # what could not be read, and the cure

    @property
    def records(self) -> list[StageRecord]:
        """The stages' records, in order."""
        return [stage.record for stage in self.stages if stage.record]


def gather(run: Run) -> Facts:
    """Read what a run has; a damaged artefact becomes a note, not an end."""
    facts = Facts(run.name, stage_facts(run))
    facts.metrics = _read(run, METRICS, facts)
    facts.deployment = _read(run, DEPLOYMENT, facts)
    facts.drift = _read(run, DRIFT, facts)
    facts.served = _served(run, facts)
    facts.source = next((str(r.parameters["source"]) for r in facts.records if "source" in r.parameters), None)
    _add_data(run, facts)
    if facts.metrics:
        facts.confusions = top_confusions(facts.metrics)
        facts.mistakes = _mistakes(run, facts)
    return facts


def _read(run: Run, artefact: Any, facts: Facts) -> Any:
    if not run.has(artefact):
        return None
    try:
        return run.read(artefact)
    except FastrecError as error:
        facts.notes.append(str(error).replace(f"{home()}/", ""))
        return None


def _served(run: Run, facts: Facts) -> str | None:
    if not run.has(PACKAGE):
        return None
    from fastrec.deploy.package import read_record  # brings onnxruntime

    try:
        return str(read_record(run.path(PACKAGE))["label"])
    except FastrecError as error:
        facts.notes.append(str(error).replace(f"{home()}/", ""))
    except (LookupError, TypeError):
        facts.notes.append(f"{run.shorten(run.path(PACKAGE))}/model.json is damaged: build the package again.")
    return None


def stage_facts(run: Run) -> list[StageFact]:
    """Return how far each stage came, by the run's records alone."""
    made: dict[str, str] = {}
    found = []
    for stage in STAGES:
        record = run.record(stage)
        page = f"{stage_folder(stage)}.html" if executed_notebook(run, stage).is_file() else None
        inputs, outputs = (record.inputs, record.outputs) if record else ({}, {})
        outdated = any(made.get(key, checksum) != checksum for key, checksum in inputs.items())
        found.append(StageFact(stage, record, page, outdated))
        made.update(outputs)
    return found


def executed_notebook(run: Run, stage: str) -> Path:
    """Return where the pipeline leaves a stage's executed notebook."""
    return run.folder / stage_folder(stage) / f"{stage_folder(stage)}.ipynb"


def _add_data(run: Run, facts: Facts) -> None:
    manifest, splits = _read(run, MANIFEST, facts), _read(run, SPLITS, facts)
    rejected, quality = _read(run, REJECTED, facts), _read(run, QUALITY, facts)
    if record := _read(run, CARD, facts):
        facts.card = card.html(record, classes=False)
    if manifest is not None:
        facts.pictures, facts.multi_label = len(manifest), labels.several(manifest["labels"])
    if splits is not None:
        facts.learnt = int((splits["split"] == "train").sum())
        facts.class_counts = [
            (str(label), {split: int(row[split]) for split in SPLITS_ORDER})
            for label, row in counts(splits, facts.multi_label).iterrows()
        ]
        facts.leaks = len(leaks(splits, quality))
    elif manifest is not None:
        found = Counter(label for several in manifest["labels"] for label in several)
        facts.class_counts = [(label, {"not split yet": number}) for label, number in sorted(found.items())]
    if rejected is not None:
        facts.rejected = [
            (str(code), len(rows), str(rows["message"].iloc[0])) for code, rows in rejected.groupby("code")
        ]
    if quality is not None:
        facts.issues = [(str(issue), int(number)) for issue, number in quality["issue"].value_counts().items()]


def top_confusions(metrics: Metrics, most: int = 5) -> list[Confusion]:
    """List the most frequent pairs of label and wrong prediction, the largest share first among equals.

    With several labels: of the pictures of a label, to how many another one was wrongly added.
    """
    matrix = np.asarray(metrics.confusion)
    if matrix.size == 0:
        return []
    totals = matrix.sum(axis=1)
    if metrics.multi_label:
        totals = np.array([metrics.per_class[name].support for name in metrics.classes])
    pairs = [
        Confusion(metrics.classes[row], metrics.classes[column], int(matrix[row, column]), int(totals[row]))
        for row, column in np.argwhere(matrix > 0)
        if row != column
    ]
    return sorted(pairs, key=lambda pair: (-pair.count, pair.count / -pair.of))[:most]


def _mistakes(run: Run, facts: Facts) -> list[Mistake]:
    predictions, splits = _read(run, PREDICTIONS, facts), _read(run, SPLITS, facts)
    images = _read(run, IMAGES, facts)
    if predictions is None or splits is None or images is None:
        return []
    wrong = predictions[predictions["predicted"] != predictions["label"]].sort_values("score", ascending=False)
    rows = dict(zip(splits["image_id"], splits["row"], strict=True))
    told = labels.told if facts.multi_label else str
    return [
        Mistake(data_uri(images[rows[item.image_id]]), told(item.label), told(item.predicted), float(item.score))
        for item in wrong.head(MOST_MISTAKES).itertuples()
        if 0 <= rows.get(item.image_id, -1) < len(images)
    ]


def data_uri(pixels: np.ndarray) -> str:
    """Return a picture (height, width, 3) as an address that holds it whole."""
    return f"data:image/png;base64,{base64.b64encode(png(pixels)).decode()}"
