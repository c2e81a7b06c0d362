"""Seven tiny notebooks in a test's home: what the pipeline and the command line are tried on."""

from collections.abc import Callable
from pathlib import Path

import nbformat
import pytest

from fastrec.artefacts import STAGES, stage_folder

PARAMETERS = """\
run_name: str = "digits"  # the run to write
seed: int = 0  # of all randomness
rate: float | None = 1e-3  # step size: a = b is no second parameter
names: list[str] = ["a"]  # plain text
"""
Writer = Callable[..., Path]


def tiny_cells(stage: str) -> list[str]:
    """Return a stage that reads what the stage before it wrote, and writes one file."""
    number = STAGES.index(stage)
    before = stage_folder(STAGES[number - 1])
    start = f'from fastrec.run import Run\nrun = Run(run_name).start("{stage}", globals())'
    read = f'run.note_input(run.path("{before}/out.txt"))\n' if number else ""
    write = f'with run.writing("{stage_folder(stage)}/out.txt") as path:\n    path.write_text(f"{{rate}}")'
    return [start, read + write, "run.finish()"]


def write_notebook(folder: Path, stage: str, cells: list[str] | None = None, parameters: str = PARAMETERS) -> Path:
    """Write a notebook with a title, the parameters cell and the given code cells."""
    first = nbformat.v4.new_code_cell(parameters, metadata={"tags": ["parameters"]})
    rest = [nbformat.v4.new_code_cell(source) for source in (tiny_cells(stage) if cells is None else cells)]
    content = nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell(f"# {stage}"), first, *rest])
    path = folder / f"{stage_folder(stage)}.ipynb"
    path.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(content, path)
    return path


@pytest.fixture
def tiny_home(home: Path) -> Path:
    """Put the seven notebooks into the test's home."""
    for stage in STAGES:
        write_notebook(home / "notebooks", stage)
    return home


@pytest.fixture
def write_stage(tiny_home: Path) -> Writer:
    """Return what rewrites one of those notebooks: ``write_stage(stage, cells, parameters)``."""

    def write(stage: str, cells: list[str] | None = None, parameters: str = PARAMETERS) -> Path:
        return write_notebook(tiny_home / "notebooks", stage, cells, parameters)

    return write
