"""An executed notebook's cells as a harmless HTML fragment, by nbconvert."""

from __future__ import annotations

import ast
import base64
import re
from pathlib import Path
from typing import Any

import nbformat
from nbconvert import HTMLExporter
from nbconvert.preprocessors import CoalesceStreamsPreprocessor
from traitlets.config import Config

from fastrec.files import FastrecError
from fastrec.report.sanitise import sanitise

TEMPLATE = Path(__file__).parent / "templates" / "cells.html.j2"
_TO_NOTEBOOK = re.compile(r'href="(\d\d_\w+)\.ipynb"')  # notebooks link each other; pages link pages
_HIDDEN = {"injected-parameters", "papermill-error-cell-tag"}
_SHOWN = [  # the best first; scripts and widgets are not among them: every widget has a static twin
    "text/html",
    "image/png",
    "image/jpeg",
    "text/markdown",
    "text/latex",
    "text/plain",
]


def render_cells(notebook: Path) -> str:
    """Render an executed notebook's cells, code folded, foreign HTML made inert.

    Raises
    ------
    FastrecError
        If the file is not a notebook.
    """
    try:
        content = nbformat.read(notebook, as_version=4)
    except (ValueError, KeyError, AttributeError, nbformat.ValidationError) as error:
        raise FastrecError(f"{notebook} is damaged: run its stage again with `fastrec run --force`.") from error
    for cell in content.cells:
        cell.metadata.tags = list(cell.metadata.get("tags", []))
    parameters = _parameter_rows(content)
    content.cells = [cell for cell in content.cells if not _HIDDEN & set(cell.metadata.tags)]
    _describe_images(content.cells)
    fragment, _ = _exporter().from_notebook_node(content, resources={"parameters": parameters})
    return _TO_NOTEBOOK.sub(r'href="\1.html"', fragment)


def _exporter() -> HTMLExporter:
    settings = Config({"NbConvertBase": {"display_data_priority": _SHOWN}})
    exporter = HTMLExporter(config=settings, template_file=str(TEMPLATE), exclude_anchor_links=True)
    exporter.register_preprocessor(CoalesceStreamsPreprocessor, enabled=True)  # of a progress bar, its last state
    exporter.register_filter("sanitise", sanitise)
    exporter.register_filter("base64_only", _base64_only)
    return exporter


def _base64_only(text: str) -> str:
    """Return an image's data, checked to be nothing else."""
    return base64.b64encode(base64.b64decode(text)).decode()


def _parameter_rows(content: Any) -> list[dict[str, Any]]:
    """List the parameters of this execution: name, value, and whether the value was given."""
    defaults = _assigned(content.cells, "parameters")
    given = _assigned(content.cells, "injected-parameters")
    return [
        {"name": name, "value": given.get(name, value), "given": name != "run_name" and given.get(name, value) != value}
        for name, value in defaults.items()
    ]


def _assigned(cells: list[Any], tag: str) -> dict[str, str]:
    """Return the values that a cell assigns, as Python writes them."""
    found: dict[str, str] = {}
    for cell in cells:
        if cell.cell_type == "code" and tag in cell.metadata.tags:
            for node in ast.parse(cell.source).body:
                target = (
                    node.target if isinstance(node, ast.AnnAssign) else next(iter(getattr(node, "targets", [])), None)
                )
                value = getattr(node, "value", None)
                if isinstance(target, ast.Name) and value is not None:
                    found[target.id] = ast.unparse(value)
    return found


def _describe_images(cells: list[Any]) -> None:
    """Give every image the sentence above it as its text for those who cannot see it."""
    said = "Figure of this step"
    for cell in cells:
        if cell.cell_type == "markdown":
            words = re.sub(r"\]\([^)]*\)|[#*`_>\[\]]", "", cell.source).split()
            said = " ".join(words)[:200] or said
        cell.metadata.said = said
