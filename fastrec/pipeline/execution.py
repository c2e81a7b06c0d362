"""One notebook executed by papermill in a kernel of its own, and its failures in one sentence."""

from __future__ import annotations

import logging
import os
import re
from pathlib import Path
from typing import Any

import papermill
from jupyter_client.kernelspec import KernelSpecManager, NoSuchKernel
from jupyter_client.manager import AsyncKernelManager
from nbclient.exceptions import CellExecutionError
from papermill.clientwrap import PapermillNotebookClient
from papermill.engines import NBClientEngine, NotebookExecutionManager, papermill_engines
from papermill.exceptions import PapermillExecutionError
from papermill.iorw import papermill_io
from traitlets import default

from fastrec import files
from fastrec.artefacts import stage_folder, stage_record
from fastrec.files import FastrecError
from fastrec.pipeline.interruption import Interrupted, Interruption
from fastrec.pipeline.progress import LogProgress
from fastrec.records import StageRecord
from fastrec.run import PIPELINE_HOLDS, ROOT, Run, home

SAVE_SECONDS = 2.0
KERNEL_LOG = "kernel.log"
_SILENT = logging.getLogger("papermill")  # its words, and those of its modules, are not for the user's screen
_SILENT.setLevel(logging.CRITICAL + 1)
_ANSI = re.compile(r"\x1b\[[0-9;]*m")


class Watch:
    """What the pipeline knows of a running notebook: its kernel, and the code cell it is in."""

    def __init__(self, show: LogProgress, interruption: Interruption) -> None:
        self._show = show
        self.interruption = interruption
        self.kernel = 0
        self.number = self.count = 0

    def kernel_started(self, pid: int) -> None:
        """Note the kernel's process id."""
        self.kernel = pid
        self.interruption.guard(pid)

    def cell_started(self, number: int, count: int) -> None:
        """Note that the ``number``-th of ``count`` code cells starts; nothing starts after a signal."""
        self.interruption.check()
        self.number, self.count = number, count
        self.heard()

    def heard(self) -> None:
        """Show that the cell is alive: it has begun, or has said something."""
        self._show.cell(self.number, self.count)


def execute(run: Run, stage: str, parameters: dict[str, Any], watch: Watch) -> None:
    """Execute a stage's notebook into the run's folder; what counts is ``stage.json``, not the notebook.

    Raises
    ------
    FastrecError
        If a cell fails, the kernel dies, or the notebook ends without ``run.finish()``.
    Interrupted
        If SIGINT or SIGTERM came.
    """
    name = f"{stage_folder(stage)}.ipynb"
    folder = run.folder / stage_folder(stage)
    folder.mkdir(parents=True, exist_ok=True)
    place = run.shorten(folder / name)
    try:
        papermill.execute_notebook(
            f"{_HomeFiles.scheme}notebooks/{name}",
            f"{_HomeFiles.scheme}runs/{run.name}/{stage_folder(stage)}/{name}",
            parameters=parameters,
            engine_name=_StageEngine.name,
            kernel_name="python3",
            language="python",
            run=run,
            watch=watch,
            kernel_log=folder / KERNEL_LOG,
        )
    except PapermillExecutionError as error:
        watch.interruption.check()
        message = _told(stage, watch, error, place)
        _mark_failed(run, stage, watch, message)
        raise FastrecError(message) from error
    except (RuntimeError, NoSuchKernel) as error:  # nbclient's DeadKernelError is a RuntimeError
        watch.interruption.check()
        message = _death(stage, watch, error)
        _mark_failed(run, stage, watch, message)
        raise FastrecError(message) from error
    finally:
        watch.interruption.release()
    _check_finished(run, stage, watch, place)


def _told(stage: str, watch: Watch, error: PapermillExecutionError, place: str) -> str:
    reason = " ".join(_ANSI.sub("", str(error.evalue)).split())
    if error.ename == FastrecError.__name__:
        return f"{stage} failed in cell {watch.number}: {reason}"
    reason = f"{error.ename}: {reason[:300]}" if reason else error.ename
    return (
        f"{stage} failed in cell {watch.number} ({reason}): see {place}, mend the cause and run the same command again."
    )


def _death(stage: str, watch: Watch, error: Exception) -> str:
    if not watch.number:
        reason = " ".join(str(error).split())
        return f"the kernel of stage {stage} did not start ({reason}): `fastrec doctor` says what is missing."
    return (
        f"the kernel of stage {stage} died in cell {watch.number} (killed or out of memory); "
        "run the same command again to continue."
    )


def _mark_failed(run: Run, stage: str, watch: Watch, message: str) -> None:
    """Close the record that the dead kernel left open; an older run's record stays as it is."""
    record = run.record(stage)
    if record and record.state == "running" and record.pid == watch.kernel:
        _save(run, record.model_copy(update={"state": "failed", "error": message}))


def _save(run: Run, record: StageRecord) -> None:
    files.write_text(run.path(stage_record(record.stage)), record.model_dump_json(indent=2) + "\n")


def _check_finished(run: Run, stage: str, watch: Watch, place: str) -> None:
    record = run.record(stage)
    if record is None or record.state != "done" or record.pid != watch.kernel:
        message = (
            f"{stage} ran through without run.finish(): let {place} start with run.start and end with run.finish()."
        )
        _mark_failed(run, stage, watch, message)
        raise FastrecError(message)


class _HomeFiles:
    """papermill's door to files below the home folder: written atomically, and no machine's path recorded."""

    scheme = "home:"

    def read(self, path: str) -> str:
        return self._place(path).read_text(encoding="utf-8")

    def write(self, text: str, path: str) -> None:
        files.write_text(self._place(path), text)

    def pretty_path(self, path: str) -> str:
        return path

    def _place(self, path: str) -> Path:
        below = path.removeprefix(self.scheme)
        own = ROOT / below
        return own if below.startswith("notebooks/") and not (home() / below).is_file() else home() / below


class _Kernel(AsyncKernelManager):
    """A kernel of this very interpreter, whatever kernels a user has registered under the same name."""

    @default("kernel_spec_manager")
    def _own_interpreter(self) -> KernelSpecManager:
        return KernelSpecManager(kernel_dirs=[])


class _StageNotebook(NotebookExecutionManager):
    """papermill's book-keeping, which also tells the watch and saves no more often than needed."""

    def __init__(self, nb: Any, output_path: str | None, watch: Watch) -> None:
        super().__init__(nb, output_path=output_path, progress_bar=False)
        self._watch = watch
        self._number = 0
        self._count = sum(_runs(cell) for cell in nb.cells)

    def cell_start(self, cell: Any, cell_index: int | None = None, **kwargs: Any) -> None:
        super().cell_start(cell, cell_index=cell_index, **kwargs)
        if _runs(cell):
            self._number += 1
            try:
                self._watch.cell_started(self._number, self._count)
            except Interrupted:
                self.cell_exception(cell, cell_index=cell_index)
                raise

    def autosave_cell(self, **kwargs: Any) -> None:  # called at each message of the kernel
        super().autosave_cell(**kwargs)
        if self._number:
            self._watch.heard()

    def save(self, **kwargs: Any) -> None:
        running = self.end_time is None
        if running and (self.now() - self.last_save_time).total_seconds() < SAVE_SECONDS:
            return
        super().save(**kwargs)


def _runs(cell: Any) -> bool:
    return cell.cell_type == "code" and bool(cell.source.strip())


class _Client(PapermillNotebookClient):
    """papermill's client, which marks the cell that a kernel died in as failed, not as completed."""

    kernel_manager_class = _Kernel

    def __init__(self, nb_man: _StageNotebook, watch: Watch, **options: Any) -> None:
        super().__init__(nb_man, **options)
        self._watch = watch

    def start_new_kernel_client(self, **kwargs: Any) -> Any:
        self._watch.kernel_started(self.km.provisioner.pid)
        return super().start_new_kernel_client(**kwargs)

    def execute_cell(self, cell: Any, cell_index: int, *args: Any, **kwargs: Any) -> Any:
        try:
            return super().execute_cell(cell, cell_index, *args, **kwargs)
        except CellExecutionError:
            raise
        except BaseException as error:
            self.nb_man.cell_exception(cell, cell_index=cell_index, exception=error)
            raise


class _StageEngine(NBClientEngine):
    """papermill's own engine with our book-keeping, kernel and environment."""

    name = "fastrec"

    @classmethod
    def execute_notebook(cls, nb: Any, kernel_name: str, output_path: str | None = None, **options: Any) -> Any:
        run: Run = options["run"]
        watch: Watch = options["watch"]
        notebook = _StageNotebook(nb, output_path, watch)
        notebook.notebook_start()
        try:
            client = _Client(notebook, watch, kernel_name=kernel_name, startup_timeout=120, timeout=None, log=_SILENT)
            with options["kernel_log"].open("wb") as log:  # what the kernel's process says beside its cells
                client.execute(cwd=str(home()), env=_environment(run), stdout=log, stderr=log)
        finally:
            notebook.notebook_complete()
        return notebook.nb


def _environment(run: Run) -> dict[str, str]:
    own = {
        PIPELINE_HOLDS: str(run.folder),
        "FASTREC_HOME": str(home()),
        "PYDEVD_DISABLE_FILE_VALIDATION": "1",  # silences a debugger's warning in every executed notebook
    }
    return {**os.environ, **own}


papermill_io.register(_HomeFiles.scheme, _HomeFiles())
papermill_engines.register(_StageEngine.name, _StageEngine)
