"""The walls of the house: who may import whom, how large things grow, and what must agree with what.

Every rule is a test, since a rule that nobody checks is a wish.
"""

from __future__ import annotations

import ast
import functools
import json
import re
import statistics
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path, PurePath

import nbformat
import pytest
import yaml
from packaging.requirements import Requirement

from fastrec.artefacts import STAGES, stage_folder

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "fastrec"
GROUND = {
    "allocation",
    "markup",
    "artefacts",
    "bundle",
    "channels",
    "children",
    "engine",
    "files",
    "formats",
    "images",
    "labels",
    "levels",
}
GROUND |= {"plots", "provenance", "records", "refusals", "run"}
TOP = {"pipeline", "report", "cli", "doctor"}
HOMES = {  # a heavy library and the places that may import it, as beginnings of paths below the package
    "fastai": ("train/", "collect/sources/named.py"),
    "papermill": ("pipeline/", "report/"),
    "nbconvert": ("pipeline/", "report/"),
    "nbclient": ("pipeline/", "report/"),
    "fastapi": ("deploy/",),
    "starlette": ("deploy/",),
    "uvicorn": ("deploy/",),
    "optuna": ("tune/",),
    "cleanlab": ("collect/label_errors.py",),
    "ray": ("engine.py",),
    "mlflow": ("train/tracking.py",),
    "onnx": ("deploy/",),
    "timm": ("train/",),
    "typer": ("cli.py",),
}
HEAVY = {"torch", "torchvision", "fastai", "timm", "pandas", "pyarrow", "matplotlib", "sklearn", "scipy", "optuna"}

MODULES = sorted(path for path in PACKAGE.rglob("*.py") if (path.parent / "__init__.py").is_file())
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))


@functools.cache
def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def name_of(path: Path) -> str:
    """Return a module's dotted name below ``fastrec``: ``train.learner``; of the root, nothing."""
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def part_of(module: str) -> str:
    return module.partition(".")[0]


def not_run_on_import(tree: ast.Module) -> set[ast.AST]:
    """Return what stands inside functions and under ``if TYPE_CHECKING``."""
    blocks = [node for node in ast.walk(tree) if isinstance(node, ast.If)]
    blocks = [node for node in blocks if isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"]
    blocks += [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    return {inner for node in blocks for inner in ast.walk(node)}


def imports(path: Path, at_once: bool = False) -> Iterator[str]:
    """Yield every dotted name that a module imports: anywhere in it, or at once when it is imported."""
    tree = parsed(path)
    skipped = not_run_on_import(tree) if at_once else set()
    for node in ast.walk(tree):
        if node in skipped:
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} imports relatively, which the code's fingerprint does not follow"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def inside(path: Path, at_once: bool = False) -> set[str]:
    """Return the modules of the package that a module imports, by their names below ``fastrec``."""
    known = {name_of(module) for module in MODULES}
    found = set()
    for name in imports(path, at_once):
        head, _, rest = name.partition(".")
        if head == "fastrec":
            found.add(rest if rest in known else rest.rpartition(".")[0])
    return found - {""}


def functions(path: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    return (node for node in ast.walk(parsed(path)) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))


def length(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Count a function's lines, its docstring not among them."""
    first = function.body[0]
    text = first.end_lineno - first.lineno + 1 if ast.get_docstring(function) else 0
    return function.end_lineno - function.lineno + 1 - text


def below(paths: list[Path]) -> list[str]:
    return [str(path.relative_to(ROOT)) for path in paths]


# ------------------------------------------------------------------------------- imports


@pytest.mark.parametrize("path", MODULES, ids=below(MODULES))
def test_imports_point_from_right_to_left(path):
    mine = part_of(name_of(path))
    theirs = {part_of(module) for module in inside(path)}
    if mine in ("", *GROUND):
        allowed = GROUND
    elif mine in STAGES:
        allowed = GROUND | set(STAGES[: STAGES.index(mine) + 1])
    else:
        assert mine in TOP, f"{mine} is neither ground, stage nor top: give it its place in this test and the design"
        allowed = GROUND | set(STAGES) | TOP
    assert theirs <= allowed


def test_no_module_imports_itself_over_others():
    graph = {name_of(path): inside(path, at_once=True) - {name_of(path)} for path in MODULES}
    TopologicalSorter(graph).prepare()  # raises CycleError and names the cycle


@pytest.mark.parametrize("library", HOMES)
def test_heavy_libraries_stay_at_home(library):
    users = [path for path in MODULES if any(part_of(name) == library for name in imports(path))]
    strays = [path for path in users if not str(path.relative_to(PACKAGE)).startswith(HOMES[library])]
    assert not strays


def loaded_by(statement: str) -> set[str]:
    """Return the top-level modules that a fresh process has after a statement."""
    code = f"import sys; {statement}; print(*sorted({{name.partition('.')[0] for name in sys.modules}}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_the_package_itself_loads_nothing():
    assert loaded_by("import fastrec") - loaded_by("pass") == {"fastrec"}


@pytest.mark.parametrize("module", ["cli", "files", "images", "run", "artefacts", "provenance", "bundle"])
def test_what_is_always_imported_is_light(module):
    allowed = {"pyarrow"} if module in ("run", "artefacts", "bundle") else set()
    assert not (loaded_by(f"import fastrec.{module}") & HEAVY) - allowed


def test_the_service_needs_neither_torch_nor_what_trained_the_model():
    assert not loaded_by("import fastrec.deploy.service") & (HEAVY | {"dill", "cloudpickle", "joblib"})


# ----------------------------------------------------------------------------------- size


def test_no_file_is_longer_than_a_person_reads_at_once():
    assert not {str(path): count for path in MODULES if (count := len(path.read_text().splitlines())) > 300}


def test_no_function_is_longer_than_a_screen():
    long = {f"{path}:{function.name}": length(function) for path in MODULES for function in functions(path)}
    assert not {name: lines for name, lines in long.items() if lines > 40}
    assert statistics.median(long.values()) <= 12


def test_no_module_is_named_after_nothing():
    folders = [path for part in ("fastrec", "tests") for path in (ROOT / part).rglob("*")]
    empty = {"utils", "util", "helpers", "helper", "common", "misc", "shared", "base", "core"}
    assert not [path for path in folders if path.stem in empty and (path.suffix == ".py" or path.is_dir())]


@pytest.mark.parametrize("path", MODULES, ids=below(MODULES))
def test_public_functions_say_what_they_do(path):
    assert ast.get_docstring(parsed(path)), "the module has no docstring"
    tree = parsed(path)
    private = {id(inner) for node in ast.walk(tree) if is_private(node) for inner in ast.walk(node)}
    nested = {id(inner) for node in functions(path) for inner in ast.walk(node) if inner is not node}
    public = [node for node in functions(path) if id(node) not in private | nested]
    assert not [node.name for node in public if not node.name.startswith("_") and not ast.get_docstring(node)]


def is_private(node: ast.AST) -> bool:
    return isinstance(node, ast.ClassDef) and node.name.startswith("_")


# ------------------------------------------------------------------------------- symmetry


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_is_a_notebook_a_sub_package_and_a_folder_of_tests(stage):
    assert (ROOT / "notebooks" / f"{stage_folder(stage)}.ipynb").is_file()
    assert (PACKAGE / stage / "__init__.py").is_file()
    assert list((ROOT / "tests" / stage).glob("test_*.py"))


def test_there_are_no_notebooks_beside_the_stages():
    assert {path.stem for path in NOTEBOOKS} <= {stage_folder(stage) for stage in STAGES}


# ------------------------------------------------------------------- what must agree


def project() -> dict:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())


def requirements() -> list[Requirement]:
    given = project()["project"]
    extras = [line for lines in given["optional-dependencies"].values() for line in lines]
    return [Requirement(line) for line in (*given["dependencies"], *extras)]


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def pins() -> dict[str, str]:
    lines = [line.strip() for line in (ROOT / "constraints.txt").read_text().splitlines()]
    lines = [line for line in lines if line and not line.startswith("#")]
    assert all(re.fullmatch(r"[A-Za-z0-9._-]+==[A-Za-z0-9.!+_-]+", line) for line in lines), "a line is no plain pin"
    return {normal(name): version for name, _, version in (line.partition("==") for line in lines)}


def test_every_dependency_is_pinned_to_a_version_that_fits():
    pinned = pins()
    for requirement in requirements():
        assert normal(requirement.name) in pinned, f"{requirement.name} has no pin in constraints.txt"
        assert pinned[normal(requirement.name)] in requirement.specifier


def test_pins_name_no_address():
    text = (ROOT / "constraints.txt").read_text()
    assert "://" not in text
    assert " @ " not in text
    assert "--" not in text


def test_conda_users_get_the_same():
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())
    plain = [line for line in environment["dependencies"] if isinstance(line, str)]
    (pip,) = [entry["pip"] for entry in environment["dependencies"] if isinstance(entry, dict)]
    lowest = re.search(r"(\d+\.\d+)", project()["project"]["requires-python"]).group(1)
    assert f"python={lowest}" in plain
    assert any(re.fullmatch(r"(-c|--constraint) constraints\.txt", line) for line in pip)
    (extras,) = [re.fullmatch(r"(?:-e |--editable )?\.\[(.+)\]", line).group(1) for line in pip if "[" in line]
    assert set(extras.split(",")) <= set(project()["project"]["optional-dependencies"])
    assert f".[{extras}]" in (ROOT / "Makefile").read_text(), "make installs other extras than conda does"


def test_every_data_file_travels_with_the_package():
    patterns = project()["tool"]["setuptools"]["package-data"]["fastrec"]
    data = [path for path in PACKAGE.rglob("*") if path.is_file() and path not in MODULES and path.suffix != ".pyc"]
    hidden = [path for path in data if any(part.startswith(".") for part in path.parts[len(PACKAGE.parts) :])]
    left = [path for path in data if not any(PurePath(path).match(pattern) for pattern in patterns)]
    assert not set(left) - set(hidden)


# -------------------------------------------------------------------------------- notebooks


@pytest.fixture(params=NOTEBOOKS, ids=below(NOTEBOOKS))
def notebook(request):
    return nbformat.read(request.param, 4)


def code_of(notebook) -> list:
    return [cell for cell in notebook.cells if cell.cell_type == "code" and cell.source.strip()]


def tree_of(cell) -> ast.Module:
    return ast.parse("\n".join(line for line in cell.source.splitlines() if not line.startswith(("%", "!"))))


def test_a_notebook_is_a_short_flow_of_calls(notebook):
    cells = code_of(notebook)
    assert 9 <= len(cells) <= 16
    long = [cell.source for cell in cells if len([line for line in cell.source.splitlines() if line.strip()]) > 14]
    assert len(long) <= 1
    defined = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda)
    assert not [node for cell in cells for node in ast.walk(tree_of(cell)) if isinstance(node, defined[:3])]


def test_a_notebook_follows_the_skeleton(notebook):
    first, sources = notebook.cells[0], [cell.source for cell in code_of(notebook)]
    assert first.cell_type == "markdown"
    assert first.source.startswith("# ")
    assert "->" in first.source or "→" in first.source
    assert "?" in first.source
    assert sum(".start(" in source for source in sources) == 1
    assert sum(source.startswith("# NBVAL_CHECK_OUTPUT") for source in sources) == 1
    assert any("run.finish()" in source for source in sources[-4:])
    (*_, last) = [cell.source for cell in notebook.cells if cell.cell_type == "markdown"]
    assert "?" in last, "the last words are questions that a cell can check"


def test_parameters_are_plain_values_each_with_its_type_and_help(notebook):
    (cell,) = [cell for cell in code_of(notebook) if "parameters" in cell.metadata.get("tags", [])]
    lines = cell.source.splitlines()
    nodes = tree_of(cell).body
    assert nodes[0].target.id == "run_name"
    for node in nodes:
        assert isinstance(node, ast.AnnAssign)
        ast.literal_eval(node.value)
        assert re.search(r"  # \w", lines[node.end_lineno - 1]), f"{node.target.id} has no help"


def test_a_notebook_was_executed_whole_and_without_fault(notebook):
    cells = code_of(notebook)
    assert all(cell.execution_count for cell in cells)
    outputs = [output for cell in cells for output in cell.outputs]
    assert len([cell for cell in cells if cell.outputs]) >= len(cells) // 2, "nbval compares nothing without outputs"
    assert not [output for output in outputs if output.output_type == "error"]
    (checked,) = [cell for cell in cells if cell.source.startswith("# NBVAL_CHECK_OUTPUT")]
    assert checked.outputs


@pytest.mark.parametrize("path", NOTEBOOKS, ids=below(NOTEBOOKS))
def test_a_notebook_is_small_and_tells_nothing_of_the_machine(path):
    text = path.read_text(encoding="utf-8")
    assert len(text.encode()) < 300_000
    outputs = json.dumps([cell.get("outputs", []) for cell in json.loads(text)["cells"]])
    assert str(ROOT) not in text
    assert not re.search(r"(/home/|/root/|/Users/|/tmp/|object at 0x)", outputs)
