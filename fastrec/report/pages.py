"""The pages: one per stage, a run's index, and several runs side by side."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

from markupsafe import Markup

from fastrec.artefacts import STAGES, stage_folder
from fastrec.files import FastrecError
from fastrec.report.comparison import compare
from fastrec.report.facts import MOST_CLASSES, Facts, StageFact, executed_notebook, gather, stage_facts
from fastrec.report.layout import write_page
from fastrec.run import Run, home


def render_run(run: Run) -> Path:
    """Render every stage that has an executed notebook, and the index; return the index."""
    for stage in STAGES:
        if executed_notebook(run, stage).is_file():
            render_stage(run, stage)
    return render_index(run)


def render_stage(run: Run, stage: str) -> Path:
    """Render a stage's executed notebook to ``reports/<run>/<NN_stage>.html``.

    Raises
    ------
    FastrecError
        If the notebook was not executed by the pipeline, or is damaged.
    """
    from fastrec.report.cells import render_cells

    notebook = executed_notebook(run, stage)
    if not notebook.is_file():
        cure = f"`fastrec run --run {run.name} --from {stage} --to {stage}`"
        raise FastrecError(f"{run.shorten(notebook)} is missing: execute it with {cure}.")
    stages = stage_facts(run)
    fact = stages[STAGES.index(stage)]
    inputs = fact.record.inputs if fact.record else {}
    return write_page(
        folder(run) / f"{stage_folder(stage)}.html",
        "stage.html.j2",
        title=f"{run.name}: {stage}",
        run=run.name,
        stages=stages,
        here=stage,
        fact=fact,
        inputs={name.replace(f"{home()}/", ""): checksum for name, checksum in inputs.items()},
        cells=Markup(render_cells(notebook)),
    )


def render_index(run: Run) -> Path:
    """Render what a reader outside the field wants to know of a run to ``reports/<run>/index.html``."""
    facts = gather(run)
    return write_page(
        folder(run) / "index.html",
        "index.html.j2",
        title=f"{run.name}: report",
        run=run.name,
        stages=facts.stages,
        here="index",
        facts=facts,
        bars=_bars(facts),
        most=MOST_CLASSES,
        cost=_cost(facts.stages),
    )


def render_compare(runs: Sequence[Run]) -> Path:
    """Render several runs side by side to one page below ``reports/compare``.

    Raises
    ------
    FastrecError
        If fewer than two runs are given, or one has not begun.
    """
    if len({run.name for run in runs}) < 2:
        raise FastrecError("a comparison needs two different runs: name them both.")
    names = "-vs-".join(run.name for run in runs)
    if len(names) > 120:
        names = f"{names[:100]}-{hashlib.sha256(names.encode()).hexdigest()[:8]}"
    return write_page(
        home() / "reports" / "compare" / f"{names}.html",
        "compare.html.j2",
        title="Runs side by side",
        comparison=compare(runs),
    )


def folder(run: Run) -> Path:
    """Return where a run's pages lie."""
    return home() / "reports" / run.name


def _bars(facts: Facts) -> list[tuple[str, int, list[tuple[str, int, float]]]]:
    """Return per class its pictures and, per split, their number and share of the longest bar in percent."""
    longest = max((sum(splits.values()) for _, splits in facts.class_counts), default=1) or 1
    return [
        (label, sum(splits.values()), [(split, number, 100 * number / longest) for split, number in splits.items()])
        for label, splits in facts.class_counts[:MOST_CLASSES]
    ]


def _cost(stages: Sequence[StageFact]) -> dict[str, float]:
    records = [stage.record for stage in stages if stage.record]
    return {
        "seconds": sum(record.seconds for record in records),
        "peak_memory": max((record.peak_memory for record in records), default=0),
    }
