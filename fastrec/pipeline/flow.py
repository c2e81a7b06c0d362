"""The flow: which stages run, in which order, and what a reader finds afterwards."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from fastrec import files
from fastrec.artefacts import STAGES, stage_record
from fastrec.pipeline.interruption import Interrupted, Interruption
from fastrec.pipeline.parameters import CallError
from fastrec.pipeline.progress import LogProgress, progress
from fastrec.pipeline.settings import Settings
from fastrec.pipeline.standing import standings
from fastrec.run import Run, home


@dataclass(frozen=True)
class Step:
    """A selected stage, and in words why it has to run (empty where it need not)."""

    stage: str
    reasons: tuple[str, ...]


def select(first: str | None = None, last: str | None = None) -> list[str]:
    """Return the stages from ``first`` to ``last``, both included.

    Raises
    ------
    CallError
        If a stage is unknown, or the first comes after the last.
    """
    for stage in (first, last):
        if stage is not None and stage not in STAGES:
            raise CallError(f"stage {stage!r} is unknown: take one of {', '.join(STAGES)}.")
    chosen = STAGES[STAGES.index(first or STAGES[0]) : STAGES.index(last or STAGES[-1]) + 1]
    if not chosen:
        raise CallError(f"--from {first} comes after --to {last}: exchange them.")
    return list(chosen)


def plan(settings: Settings, stages: list[str], force: bool = False) -> list[Step]:
    """Say which of the selected stages have to run, and why; once one runs, so do all after it."""
    steps: list[Step] = []
    renewed: str | None = None
    for standing in standings(settings):
        if standing.stage not in stages:
            continue
        reasons = standing.reasons
        if force:
            reasons = ("forced", *reasons)
        elif renewed and not reasons:
            reasons = (f"{renewed} runs again",)
        steps.append(Step(standing.stage, reasons))
        renewed = renewed or (standing.stage if reasons else None)
    return steps


def run_stages(settings: Settings, stages: list[str], force: bool = False) -> Path:
    """Run what has to run of the selected stages, then the report, which a failure of theirs does not prevent.

    Returns
    -------
    The report's index page.

    Raises
    ------
    FastrecError
        If a stage fails, or another process writes this run.
    Interrupted
        If SIGINT or SIGTERM came; the next call continues.
    """
    run = settings.run
    lock = run.folder / ".pipeline.lock"
    with Interruption() as interruption:
        files.lock(lock)
        try:
            settings.save()
            steps = plan(settings, stages, force)
            _take_all(settings, steps, interruption)
            return _report(run, renewed=any(step.reasons for step in steps))
        finally:
            files.unlock(lock)


def _take_all(settings: Settings, steps: list[Step], interruption: Interruption) -> None:
    try:
        with progress() as show:
            for step in steps:
                _take(settings, step, show, interruption)
                interruption.check()
    except Exception:
        with suppress(Exception):  # the report tells the failure; one of its own must not hide it
            _report(settings.run, renewed=True)
        raise


def _take(settings: Settings, step: Step, show: LogProgress, interruption: Interruption) -> None:
    head = f"{STAGES.index(step.stage) + 1}/{len(STAGES)} {step.stage}"
    if not step.reasons:
        show.say(f"{head}: unchanged")
        return
    from fastrec.pipeline.execution import Watch, execute

    show.begin(head, "; ".join(step.reasons))
    try:
        execute(settings.run, step.stage, settings.given(step.stage), Watch(show, interruption))
    except Interrupted:
        show.end("interrupted")
        raise
    except Exception:
        show.end("failed")
        raise
    show.end("done")


def _report(run: Run, renewed: bool) -> Path:
    index = home() / "reports" / run.name / "index.html"
    if renewed or not _is_newer(index, run):
        from fastrec.report.pages import render_run

        return render_run(run)
    return index


def _is_newer(index: Path, run: Run) -> bool:
    records = [run.path(stage_record(stage)) for stage in STAGES]
    times = [path.stat().st_mtime for path in records if path.exists()]
    return index.is_file() and index.stat().st_mtime >= max(times, default=0.0)
