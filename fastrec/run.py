"""One run directory: read, write, lock, and the record of how each stage came about."""

from __future__ import annotations

import os
import re
import socket
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote_from_bytes, unquote_to_bytes

from pydantic import BaseModel

from fastrec import files, formats, provenance
from fastrec.artefacts import STAGES, stage_folder, stage_record
from fastrec.files import FastrecError
from fastrec.formats import Artefact, Folder, Record, Table
from fastrec.records import StageRecord

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

ROOT = Path(__file__).resolve().parents[1]
_BYTES = "bytes:"
PATIENCE = 20.0  # seconds that a new writer waits for the last breath of a killed one's kernel
PIPELINE_HOLDS = "FASTREC_LOCKED_RUN"  # set by the pipeline for its kernels: the run it holds


def home() -> Path:
    """Return the folder that holds ``runs``, ``data`` and ``reports``.

    ``FASTREC_HOME`` if set, else the folder beside the package that holds ``notebooks``; never the
    working directory, since nbval and papermill start notebooks from different ones.
    """
    if given := os.environ.get("FASTREC_HOME"):
        return Path(given).expanduser().resolve()
    if (ROOT / "notebooks").is_dir():
        return ROOT
    raise FastrecError("FASTREC_HOME is not set: set it to the folder where runs, data and reports shall live.")


def notebook(stage: str) -> Path:
    """Return the stage's notebook: the one in the home folder, else the project's own."""
    name = f"notebooks/{stage_folder(stage)}.ipynb"
    return home() / name if (home() / name).is_file() else ROOT / name


class Run:
    """One run: a folder of artefacts, and the only doors to them.

    Parameters
    ----------
    name
        The run's name: letters, digits, ``.``, ``_`` and ``-``.

    Examples
    --------
    A notebook opens its stage, reads, writes and says when it is done::

        run = Run(run_name).start("preprocess", globals())
        manifest = run.read(MANIFEST)
        run.write(SPLITS, splits)
        run.finish()
    """

    def __init__(self, name: str) -> None:
        _check_name("run", name)
        self.name = name
        self.folder = home() / "runs" / name
        self._record: StageRecord | None = None
        self._read: set[str] = set()  # which of the record's inputs are files of this run
        self._clock = 0.0

    def __repr__(self) -> str:
        return f"Run({self.name!r})"

    # ------------------------------------------------------------------ places

    def path(self, artefact: Artefact | str, name: str = "", stage: str = "") -> Path:
        """Return where an artefact lies; a bundle also needs its ``name`` and ``stage``."""
        file = artefact if isinstance(artefact, str) else artefact.file
        if "{name}" in file:
            _check_name("bundle", name)
            _check_stage(stage)
        return self.folder / file.format(name=name, stage=stage_folder(stage) if stage else "")

    def locate(self, path: str) -> Path:
        """Return the image file behind a manifest's ``path``."""
        if path.startswith(_BYTES):
            path = os.fsdecode(unquote_to_bytes(path.removeprefix(_BYTES)))
        return home() / path

    def shorten(self, path: Path) -> str:
        """Return ``path`` as manifests keep it: below the home folder where possible, else absolute.

        A name that is not UTF-8, which no Parquet text can hold, is kept as percent-encoded bytes.
        """
        short = str(path.relative_to(home())) if path.is_relative_to(home()) else str(path)
        try:
            short.encode("utf-8")
        except UnicodeEncodeError:
            return _BYTES + quote_from_bytes(os.fsencode(short))
        return short

    # ----------------------------------------------------------- reading, writing

    def read(self, artefact: Artefact, name: str = "", stage: str = "", columns: Sequence[str] | None = None) -> Any:
        """Read an artefact: a DataFrame (or some columns of it), a record, a memory-mapped array or a folder's path.

        Raises
        ------
        FastrecError
            If it is missing (names the notebook that makes it) or does not fit its schema.
        """
        path = self.path(artefact, name, stage)
        if isinstance(artefact, Folder):
            files.recover(path)
        with self._reading(path):
            return formats.load(artefact, path, columns)

    def parts(self, artefact: Table, rows: int) -> Iterator[pa.RecordBatch]:
        """Read a table some rows at a time, where the whole would take much memory; raises as :meth:`read` does."""
        with self._reading(self.path(artefact)):
            yield from formats.parts(artefact, self.path(artefact), rows)

    @contextmanager
    def _reading(self, path: Path) -> Iterator[None]:
        if not path.exists():
            raise FastrecError(self._missing(path))
        self.note_input(path)
        try:
            yield
        except Exception as error:  # a parser of damaged bytes raises anything
            raise FastrecError(f"{path} is damaged ({formats.reason(error)}): {self._cure(path)}.") from error

    def _missing(self, path: Path) -> str:
        return f"{path.relative_to(self.folder)} is missing in run {self.name!r}: {self._cure(path)}."

    def _cure(self, path: Path) -> str:
        if stage := self._maker(path):
            return f"run notebooks/{stage_folder(stage)}.ipynb first (or `fastrec run --run {self.name} --to {stage}`)"
        return "restore it from a copy, or remove it to begin without"

    def _maker(self, path: Path) -> str:
        """Return the stage in whose folder ``path`` lies, or nothing."""
        folder = path.relative_to(self.folder).parts[0]
        return next((stage for stage in STAGES if stage_folder(stage) == folder), "")

    def has(self, artefact: Artefact, name: str = "", stage: str = "") -> bool:
        """Say whether an artefact is there."""
        path = self.path(artefact, name, stage)
        files.recover(path)
        return path.exists()

    def write(self, artefact: Table | Record, content: pd.DataFrame | Iterator[pa.RecordBatch] | BaseModel) -> Path:
        """Write a table or record whole or not at all, after checking it against its schema."""
        with self.writing(artefact) as temporary:
            formats.save(artefact, content, temporary)
        return self.path(artefact)

    @contextmanager
    def writing(self, artefact: Artefact | str, name: str = "", stage: str = "") -> Iterator[Path]:
        """Yield a temporary path that becomes the artefact when the block ends well."""
        path = self.path(artefact, name, stage)
        with files.replacing(path) as temporary:
            yield temporary
        if self._record:
            self._record.outputs[str(path.relative_to(self.folder))] = files.checksum(path)

    # ------------------------------------------------------------------ a stage

    def start(self, stage: str, namespace: Mapping[str, Any]) -> Run:
        """Open a stage: become the run's one writer and mark the stage as running.

        Parameters
        ----------
        stage
            One of ``fastrec.artefacts.STAGES``.
        namespace
            Where the parameters are looked up: a notebook passes ``globals()``.

        Raises
        ------
        FastrecError
            If another process writes this run.
        """
        _check_stage(stage)
        names, code = provenance.parameter_names(notebook(stage)), provenance.code_fingerprint(notebook(stage))
        self.lock()
        self._read.clear()
        self._clock = time.monotonic()
        self._record = StageRecord(
            stage=stage,
            run=self.name,
            state="running",
            parameters={name: namespace[name] for name in names if name in namespace},
            code=code,
            seed=namespace.get("seed"),
            versions=provenance.versions(),
            started=time.strftime("%FT%T%z"),
            pid=os.getpid(),
            host=socket.gethostname(),
        )
        self._save_record()
        return self

    def lock(self) -> None:
        """Become the run's one writer; a kernel of the pipeline writes under the pipeline's lock."""
        if os.environ.get(PIPELINE_HOLDS) != str(self.folder):
            files.lock(self.folder / ".pipeline.lock")
        try:
            # A killed pipeline's kernel lives on for some seconds: outwait it rather than mix two writers.
            files.lock(self.folder / ".kernel.lock", patience=PATIENCE)
        except FastrecError:
            files.unlock(self.folder / ".pipeline.lock")
            raise

    def unlock(self) -> None:
        """Let other processes write this run."""
        files.unlock(self.folder / ".kernel.lock")
        files.unlock(self.folder / ".pipeline.lock")

    def note_input(self, path: Path) -> None:
        """Record that the open stage read a file of this run, unless the stage itself made it.

        Raises
        ------
        FastrecError
            If the stage that made it did not finish, or finished with other content.
        """
        if self._record is None or not path.is_relative_to(self.folder) or self._maker(path) == self._record.stage:
            return
        key, found = str(path.relative_to(self.folder)), files.checksum(path)
        maker = self.record(self._maker(path)) if self._maker(path) else None
        if maker and maker.state != "done":
            raise FastrecError(f"{key} is of a {maker.stage} that did not finish: {self._cure(path)}.")
        if maker and maker.outputs.get(key, found) != found:
            raise FastrecError(f"{key} is not what {maker.stage} wrote (its sha256 differs): {self._cure(path)}.")
        self._record.inputs[key] = found
        self._read.add(key)

    def note_outside(self, address: str, fingerprint: str) -> None:
        """Record what the open stage read from outside the run: a source or a database."""
        if self._record:
            self._record.inputs[address] = fingerprint

    def note_output(self, path: Path) -> None:
        """Record a file that the open stage wrote without :meth:`write`, such as a database."""
        if self._record:
            self._record.outputs[str(path.relative_to(self.folder))] = files.checksum(path)

    def finish(self) -> str:
        """Close the stage: write ``stage.json`` as done and let the next writer in.

        Raises
        ------
        FastrecError
            If an input changed while the stage ran.
        """
        record = self._record
        if record is None:
            raise FastrecError("no stage is open: call run.start(stage, globals()) first.")
        for key in self._read:
            path = self.folder / key
            if not path.exists() or files.checksum(path) != record.inputs[key]:
                raise FastrecError(f"{key} changed while {record.stage} ran: run {record.stage} again.")
        record.state = "done"
        record.seconds = round(time.monotonic() - self._clock, 3)
        record.peak_memory = provenance.peak_memory()
        self._save_record()
        self._record = None
        self.unlock()
        return f"{record.stage} is done: {len(record.outputs)} outputs in {self.shorten(self.folder)}"

    def _save_record(self) -> None:
        assert self._record is not None
        text = self._record.model_dump_json(indent=2) + "\n"
        files.write_text(self.path(stage_record(self._record.stage)), text)

    def record(self, stage: str) -> StageRecord | None:
        """Return a stage's record, or None where the stage never began or its record is unreadable."""
        path = self.path(stage_record(stage))
        try:
            return StageRecord.model_validate_json(path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None


def _check_name(what: str, name: Any) -> None:
    if not (isinstance(name, str) and re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", name)):
        raise FastrecError(f"{what} name {name!r} is not usable: take letters, digits, '.', '_' and '-'.")


def _check_stage(stage: str) -> None:
    if stage not in STAGES:
        raise FastrecError(f"stage {stage!r} is unknown: take one of {', '.join(STAGES)}.")
