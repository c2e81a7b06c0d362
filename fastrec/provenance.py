"""Where a result came from: the code, the versions and the memory that made it."""

from __future__ import annotations

import ast
import functools
import hashlib
import importlib.metadata
import json
import platform
import resource
from contextlib import suppress
from pathlib import Path

from fastrec.files import FastrecError

PACKAGE = Path(__file__).parent
LIBRARIES = ("fastai", "numpy", "onnxruntime", "optuna", "pillow", "scikit-learn", "timm", "torch", "torchvision")


@functools.cache
def versions() -> dict[str, str]:
    """Return the version of Python, fastrec and of every library that shapes a result."""
    found = {"python": platform.python_version()}
    for name in ("fastrec", *LIBRARIES):
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = "absent"
    return found


def peak_memory() -> int:
    """Return the most memory this process and its ended children have used, in bytes."""
    mine, children = (resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return max(mine, children) * (1 if platform.system() == "Darwin" else 1024)


def notebook_code(notebook: Path) -> tuple[str, str]:
    """Split a notebook's source into the ``parameters`` cell and all other code cells.

    Raises
    ------
    FastrecError
        If the file is missing or not a notebook.
    """
    parameters: list[str] = []
    rest: list[str] = []
    try:
        for cell in json.loads(notebook.read_text(encoding="utf-8"))["cells"]:
            if cell["cell_type"] == "code":
                tagged = "parameters" in cell.get("metadata", {}).get("tags", [])
                (parameters if tagged else rest).append("".join(cell["source"]))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise FastrecError(f"{notebook} is missing or not a notebook: get it from the project again.") from error
    return "\n".join(parameters), "\n".join(rest)


def parameter_names(notebook: Path) -> list[str]:
    """List the names that the notebook's ``parameters`` cell defines, in its order."""
    names = []
    for node in _parsed(notebook_code(notebook)[0], notebook).body:
        targets = [node.target] if isinstance(node, ast.AnnAssign) else getattr(node, "targets", [])
        names += [target.id for target in targets if isinstance(target, ast.Name)]
    return names


def code_fingerprint(notebook: Path) -> str:
    """Return a sha256 over the notebook's code and every fastrec module it reaches by imports.

    Comments, layout, magics and parameter defaults do not count; a helper three imports away does,
    and so do the data files (pages, templates) of every sub-package that is reached.
    """
    tree = _parsed(notebook_code(notebook)[1], notebook)
    reached = _reached_from(_imported(tree))
    return _fingerprint(ast.dump(tree), reached | _data_files(reached))


def decoder_fingerprint(module: Path) -> str:
    """Return a sha256 over a fastrec module that decodes, all that it reaches by imports, and Pillow's version.

    What was decoded under another fingerprint may differ; Pillow's wheels bring their own codecs.
    """
    return _fingerprint(f"pillow {versions()['pillow']}", _reached_from({module}))


def _fingerprint(first: str, paths: set[Path]) -> str:
    digest = hashlib.sha256(first.encode())
    for path in sorted(paths):
        digest.update(f"{path.relative_to(PACKAGE)}\0{_digest_of(path, path.stat().st_mtime_ns)}".encode())
    return digest.hexdigest()


def modules_behind(module: Path) -> list[Path]:
    """List a fastrec module's file, those it reaches by imports, and the ``__init__.py`` beside each."""
    reached = _reached_from({module})
    return sorted(reached | {path.with_name("__init__.py") for path in reached} | {PACKAGE / "__init__.py"})


def _reached_from(modules: set[Path]) -> set[Path]:
    seen: set[Path] = set()
    queue = list(modules)
    while queue:
        path = queue.pop()
        if path not in seen:
            seen.add(path)
            queue += _imported_by(path, path.stat().st_mtime_ns) - seen
    return seen


def _data_files(modules: set[Path]) -> set[Path]:
    """Find what lies below the modules' sub-packages and is no module itself."""
    folders = {PACKAGE / path.relative_to(PACKAGE).parts[0] for path in modules if path.parent != PACKAGE}
    files = {path for folder in folders for path in folder.rglob("*") if path.is_file()}
    return {path for path in files if not _is_module(path) and path.suffix != ".pyc" and path.name[0] != "."}


def _is_module(path: Path) -> bool:
    return path.suffix == ".py" and (path.parent / "__init__.py").is_file()


def _parsed(code: str, notebook: Path) -> ast.Module:
    """Parse a notebook's code; magics and shell lines are left out where it is no Python with them."""
    plain = "\n".join(line for line in code.splitlines() if not line.lstrip().startswith(("%", "!")))
    for text in (code, plain):
        with suppress(SyntaxError):
            return ast.parse(text)
    raise FastrecError(f"{notebook} holds a cell that is not Python: run it in JupyterLab to see where, and mend it.")


@functools.cache
def _digest_of(path: Path, _modified: int) -> str:
    data = path.read_bytes()
    return hashlib.sha256(ast.dump(ast.parse(data)).encode() if _is_module(path) else data).hexdigest()


@functools.cache
def _imported_by(path: Path, _modified: int) -> frozenset[Path]:
    return frozenset(_imported(ast.parse(path.read_bytes())))


def _imported(tree: ast.Module) -> set[Path]:
    """Find the fastrec files that the code imports anywhere, inside functions too."""
    found: set[Path] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        else:
            continue
        for name in names:
            head, *rest = name.split(".")
            base = PACKAGE.joinpath(*rest)
            if head == "fastrec":
                found |= {p for p in (base.with_suffix(".py"), base / "__init__.py") if rest and p.is_file()}
    return found
