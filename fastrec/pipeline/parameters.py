"""A stage's parameters: what its notebook's ``parameters`` cell defines, and the check of a value.

The cell is read as Python (``ast`` and ``tokenize``) rather than by ``papermill.inspect_notebook``, whose
pattern loses a parameter annotated ``float | None`` and one whose help holds an equals sign.
"""

from __future__ import annotations

import ast
import io
import tokenize
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import ConfigDict, TypeAdapter, ValidationError

from fastrec import provenance
from fastrec.files import FastrecError
from fastrec.pipeline.limits import Choice, Range, read_limits, within
from fastrec.run import notebook

RUN_NAME = "run_name"  # given by the pipeline to every notebook
_PLAIN = {"int": int, "float": float, "str": str, "bool": bool, "None": None}


class CallError(FastrecError):
    """A call that is wrong: found before anything ran."""

    exit_code = 2


@dataclass(frozen=True)
class Parameter:
    """One line of a ``parameters`` cell."""

    stage: str
    name: str
    annotation: str
    default: Any
    help: str
    type: Any
    limits: Range | Choice | None = None

    def check(self, value: Any) -> Any:
        """Return ``value`` as this parameter's type: an int becomes a float where one is asked for.

        Raises
        ------
        CallError
            If it is of another type, NaN or infinite, or beyond the limits that the help ends with.
        """
        checked = self._typed(value)
        if self.limits and not within(self.limits, checked):
            raise CallError(f"{self.stage}.{self.name} is {value!r}, which is not allowed: take {self.limits}.")
        return checked

    def _typed(self, value: Any) -> Any:
        adapter = TypeAdapter(self.type, config=ConfigDict(strict=True, allow_inf_nan=False))
        for candidate in (value, _as_plain(value)):
            try:
                return adapter.validate_python(candidate)
            except ValidationError:
                continue
        cure = "put it in quotes" if "str" in self.annotation else f"its default is {self.default!r}"
        raise CallError(f"{self.stage}.{self.name} is {value!r}, which is not {self.annotation}: {cure}.")


def _as_plain(value: Any) -> Any:
    """YAML 1.1 takes 1e-3, without a point, for text, and Python's None too."""
    if isinstance(value, list):
        return [_as_plain(item) for item in value]
    if value in ("None", "null"):
        return None
    try:
        return float(value) if isinstance(value, str) else value
    except ValueError:
        return value


def read_parameters(stage: str) -> dict[str, Parameter]:
    """Read what a stage's notebook defines in the cell tagged ``parameters``, in its order.

    Raises
    ------
    FastrecError
        If the notebook is missing or damaged, or defines anything but plain values there.
    """
    path = notebook(stage)
    place = f"notebooks/{path.name}"
    source = provenance.notebook_code(path)[0]
    try:
        tree = ast.parse(source)
    except SyntaxError as error:
        raise FastrecError(
            f"the parameters cell of {place} is not Python ({error.msg}, line {error.lineno}): mend it."
        ) from error
    comments = _comments(source)
    found = (_parameter(stage, place, node, comments) for node in tree.body)
    return {parameter.name: parameter for parameter in found}


def _comments(source: str) -> dict[int, str]:
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    return {token.start[0]: token.string.lstrip("# ") for token in tokens if token.type == tokenize.COMMENT}


def _parameter(stage: str, place: str, node: ast.stmt, comments: dict[int, str]) -> Parameter:
    annotation: ast.expr | None = None
    match node:
        case ast.AnnAssign(target=ast.Name(id=name), value=ast.expr() as value):
            annotation = node.annotation
        case ast.Assign(targets=[ast.Name(id=name)], value=value):
            pass
        case _:
            raise FastrecError(f"{place}: {ast.unparse(node)!r} in its parameters cell is no parameter: move it below.")
    try:
        default = ast.literal_eval(value)
        kind = _type(annotation) if annotation else type(default)
        shown = ast.unparse(annotation) if annotation else kind.__name__
        text = comments.get(node.end_lineno or 0, "")
        limits = read_limits(text)
    except (ValueError, TypeError) as error:
        raise FastrecError(f"{place}: parameter {name} is not a plain value of a plain type ({error}).") from error
    if limits and not within(limits, default):
        raise FastrecError(f"{place}: parameter {name} is {default!r} by default, yet its help wants {limits}.")
    return Parameter(stage, name, shown, default, text, kind, limits)


def _type(node: ast.expr) -> Any:
    match node:
        case ast.Name(id=name) if name in _PLAIN:
            return _PLAIN[name]
        case ast.Constant(value=None):
            return None
        case ast.BinOp(left=left, op=ast.BitOr(), right=right):
            return _type(left) | _type(right)
        case ast.Subscript(value=ast.Name(id="list"), slice=item):
            return list[_type(item)]  # type: ignore[misc]
        case ast.Subscript(value=ast.Name(id="Literal"), slice=choices):
            return Literal[ast.literal_eval(choices)]
    raise ValueError(f"annotation {ast.unparse(node)}")
