"""Where a result came from: the code, the versions and the memory that made it."""

from __future__ import annotations

import ast
import functools
import hashlib
import importlib.metadata
import json
import platform
import resource
from pathlib import Path

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
    """Split a notebook's source into the ``parameters`` cell and all other code cells."""
    parameters, rest = [], []
    for cell in json.loads(notebook.read_text(encoding="utf-8"))["cells"]:
        if cell["cell_type"] == "code":
            tagged = "parameters" in cell.get("metadata", {}).get("tags", [])
            (parameters if tagged else rest).append("".join(cell["source"]))
    return "\n".join(parameters), "\n".join(rest)


def parameter_names(notebook: Path) -> list[str]:
    """List the names that the notebook's ``parameters`` cell defines, in its order."""
    names = []
    for node in ast.parse(notebook_code(notebook)[0]).body:
        targets = [node.target] if isinstance(node, ast.AnnAssign) else getattr(node, "targets", [])
        names += [target.id for target in targets if isinstance(target, ast.Name)]
    return names


def code_fingerprint(notebook: Path) -> str:
    """Return a sha256 over the notebook's code and every fastrec module it reaches by imports.

    Comments, layout and parameter defaults do not count; a helper three imports away does.
    """
    code = _without_magics(notebook_code(notebook)[1])
    digest = hashlib.sha256(_normal(code).encode())
    seen: set[Path] = set()
    queue = sorted(_imported(code))
    while queue:
        path = queue.pop()
        if path not in seen:
            seen.add(path)
            queue += sorted(_imported_by(path, path.stat().st_mtime_ns) - seen)
    for path in sorted(seen):
        digest.update(f"{path.relative_to(PACKAGE)}\0{_digest_of(path, path.stat().st_mtime_ns)}".encode())
    return digest.hexdigest()


def _without_magics(code: str) -> str:
    return "\n".join(line for line in code.splitlines() if not line.lstrip().startswith(("%", "!")))


def _normal(code: str) -> str:
    return ast.dump(ast.parse(code))


@functools.cache
def _digest_of(path: Path, _modified: int) -> str:
    text = path.read_text(encoding="utf-8")
    return hashlib.sha256((_normal(text) if path.suffix == ".py" else text).encode()).hexdigest()


@functools.cache
def _imported_by(path: Path, _modified: int) -> frozenset[Path]:
    return frozenset(_imported(path.read_text(encoding="utf-8")))


def _imported(code: str) -> set[Path]:
    """Find the fastrec files that ``code`` imports anywhere, inside functions too."""
    found: set[Path] = set()
    for node in ast.walk(ast.parse(code)):
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
