"""Which package is served: another bundle's, or the one before, with every change written down."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fastrec import files
from fastrec.artefacts import PACKAGE, stage_record
from fastrec.deploy import package
from fastrec.files import FastrecError
from fastrec.run import Run

PREVIOUS, LOG = "06_deploy/previous", "06_deploy/promotions.jsonl"
KEPT = 5  # packages that can be rolled back to


def promote(run: Run, bundle: str) -> str:
    """Make another bundle's package the served one and keep the present one for `rollback`.

    Until the new package is complete and agrees with torch, the present one stays; a service that
    runs goes on with what it loaded until it is started again.

    Returns
    -------
    One sentence on what is served now.

    Raises
    ------
    FastrecError
        If the run has no such bundle or no package yet, another process writes the run, or the
        bundle cannot be exported.
    """
    with _writer(run):
        before = package.read_record(run.read(PACKAGE))["label"]
        package.open_bundle(run, bundle)
        _keep(run, before)
        folder = package.build(run, bundle)
        _note(run, "promote", before, bundle)
    return f"{run.name} serves {bundle} now ({run.shorten(folder)}), before {before}: start the service again."


def rollback(run: Run) -> str:
    """Make the package before the present one the served one again.

    Raises
    ------
    FastrecError
        If there is none, or another process writes the run.
    """
    with _writer(run):
        present = run.read(PACKAGE)
        before = package.read_record(present)["label"]
        kept = _last_kept(run, files.checksum(present))
        if kept is None:
            raise FastrecError(f"run {run.name!r} has no package before {before}: promote another bundle first.")
        with run.writing(PACKAGE) as temporary:
            shutil.copytree(kept, temporary)
        bundle = package.read_record(kept)["label"]
        _note(run, "rollback", before, bundle)
        shutil.rmtree(kept)
    return f"{run.name} serves {bundle} again ({run.shorten(run.path(PACKAGE))}): start the service again."


@contextmanager
def _writer(run: Run) -> Iterator[None]:
    run.lock()
    try:
        yield
    finally:
        run.unlock()


def _keep(run: Run, label: str) -> None:
    """Copy the present package aside, named so that the latest sorts last."""
    name = f"{time.time_ns():020d}_{label.replace('/', '_')}"
    with run.writing(f"{PREVIOUS}/{name}") as temporary:
        shutil.copytree(run.path(PACKAGE), temporary)
    for path in _kept(run)[:-KEPT]:
        shutil.rmtree(path)


def _kept(run: Run) -> list[Path]:
    folder = run.path(PREVIOUS)
    return sorted(path for path in folder.glob("[0-9]*_*") if path.is_dir())


def _last_kept(run: Run, present: str) -> Path | None:
    """Find the latest package that differs from the present one: a killed promotion leaves an equal one."""
    return next((path for path in reversed(_kept(run)) if files.checksum(path) != present), None)


def _note(run: Run, action: str, before: str, after: str) -> None:
    """Write the change down, and let deploy's record know the package, which otherwise would count as damaged."""
    path = run.path(LOG)
    earlier = path.read_text(encoding="utf-8") if path.is_file() else ""
    entry = {"time": time.strftime("%FT%T%z"), "action": action, "before": before, "after": after}
    files.write_text(path, earlier + json.dumps(entry | {"sha256": files.checksum(run.path(PACKAGE))}) + "\n")
    if record := run.record("deploy"):
        record.outputs[PACKAGE.file] = files.checksum(run.path(PACKAGE))
        files.write_text(run.path(stage_record("deploy")), record.model_dump_json(indent=2) + "\n")
