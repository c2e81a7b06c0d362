"""How far a run came, and what would have to run again and why."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

import psutil

from fastrec import files, provenance
from fastrec.artefacts import ABSENT, DECISIONS, STAGES, stage_folder
from fastrec.files import FastrecError
from fastrec.pipeline.settings import Settings
from fastrec.records import StageRecord
from fastrec.run import Run, notebook

State = Literal["done", "stale", "running", "interrupted", "failed", "never ran"]
_OF_THE_RUN = (DECISIONS.file, *(f"{stage_folder(stage)}/" for stage in STAGES))  # other inputs lie outside


@dataclass(frozen=True)
class Standing:
    """A stage's state, and in words why it is not up to date (empty where it is)."""

    stage: str
    state: State
    reasons: tuple[str, ...]
    record: StageRecord | None


def standings(settings: Settings) -> list[Standing]:
    """Return how every stage of a run stands, by its own records and files alone."""
    return [_standing(settings, stage) for stage in STAGES]


def _standing(settings: Settings, stage: str) -> Standing:
    record = settings.run.record(stage)
    if record is None:
        return Standing(stage, "never ran", ("never ran",), None)
    if record.state == "failed":
        return Standing(stage, "failed", (f"failed ({record.error})" if record.error else "failed",), record)
    if record.state == "running":
        state: State = "running" if _alive(record) else "interrupted"
        return Standing(stage, state, (state,), record)
    reasons = tuple(_changes(settings.run, record, settings.values(stage)))
    return Standing(stage, "stale" if reasons else "done", reasons, record)


def _alive(record: StageRecord) -> bool:
    """Say whether the process that wrote a record lives; of another host, nothing else is known."""
    if record.host != socket.gethostname():
        return True
    try:
        born = psutil.Process(record.pid).create_time()
    except psutil.NoSuchProcess:
        return False
    # a later process may have been given the same number
    return born <= datetime.strptime(record.started, "%Y-%m-%dT%H:%M:%S%z").timestamp() + 1


def _changes(run: Run, record: StageRecord, values: dict[str, Any]) -> Iterator[str]:
    yield from _changed_parameters(record.parameters, values)
    if record.code != provenance.code_fingerprint(notebook(record.stage)):
        yield "code changed"
    now = provenance.versions()
    for name in sorted(record.versions.keys() | now.keys()):
        before, after = record.versions.get(name, "absent"), now.get(name, "absent")
        if before != after:
            yield f"{name} {before} -> {after}"
    for key, expected in record.inputs.items():
        yield from _changed_input(run, key, expected)
    for key, expected in record.outputs.items():
        yield from _changed_file(run, key, expected)


def _changed_parameters(before: dict[str, Any], after: dict[str, Any]) -> Iterator[str]:
    for name in sorted(before.keys() | after.keys()):
        if name not in before:
            yield f"parameter {name} is new"
        elif name not in after:
            yield f"parameter {name} is gone"
        elif before[name] != after[name]:
            yield f"parameter {name} changed ({before[name]!r} -> {after[name]!r})"


def _changed_input(run: Run, key: str, expected: str) -> Iterator[str]:
    if key.startswith(_OF_THE_RUN):
        yield from _changed_file(run, key, expected)
        return
    try:
        if outside_fingerprint(key) != expected:
            yield f"{key} changed"
    except FastrecError as error:
        yield f"{key} is not readable any more ({error})"


def _changed_file(run: Run, key: str, expected: str) -> Iterator[str]:
    path = run.folder / key
    if expected == ABSENT:
        if path.exists():
            yield f"{key} is new"
    elif not path.exists():
        yield f"{key} is gone"
    # a database's bytes change by being served from; what a stage read of it has its own fingerprint
    elif path.suffix != ".db" and files.checksum(path) != expected:
        yield f"{key} changed"


def outside_fingerprint(address: str) -> str:
    """Return the present checksum of what a stage read from outside the run.

    Parameters
    ----------
    address
        ``log:`` and a database's URL, or else the text of a source such as ``folder:PATH``.
    """
    if address.startswith("log:"):
        from fastrec.monitor import log

        return log.fingerprint(address.removeprefix("log:"))
    from fastrec.collect import sources

    return sources.fingerprint(address)
