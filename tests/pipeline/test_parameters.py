import math

import nbformat
import papermill
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastrec.files import FastrecError
from fastrec.pipeline.parameters import CallError, Parameter, read_parameters

PLAIN = """\
run_name: str = "digits"  # the run to write
epochs: int = 5  # how often every picture is seen
flip: bool = False  # mirror left and right
sizes: list[int] = [16, 32]  # sides in pixels
"""


def parameter(annotation, default, write_stage):
    write_stage("train", parameters=f"x: {annotation} = {default!r}")
    return read_parameters("train")["x"]


def test_plain_parameters_are_what_papermill_finds(write_stage):
    path = write_stage("train", parameters=PLAIN)
    content = nbformat.read(path, 4)
    content.metadata.kernelspec = {"name": "python3", "language": "python", "display_name": "Python 3"}
    content.metadata.language_info = {"name": "python"}
    nbformat.write(content, path)
    theirs = papermill.inspect_notebook(path)
    ours = read_parameters("train")
    assert list(ours) == list(theirs)
    for name, found in theirs.items():
        assert (ours[name].annotation, ours[name].help) == (found["inferred_type_name"], found["help"])


def test_parameters_that_papermill_loses_are_found(tiny_home):
    rate = read_parameters("train")["rate"]
    assert (rate.annotation, rate.default, rate.help) == (
        "float | None",
        1e-3,
        "step size: a = b is no second parameter",
    )


@pytest.mark.parametrize(
    ("annotation", "value", "expected"),
    [
        ("int", 3, 3),
        ("float", 3, 3.0),
        ("float", "1e-3", 1e-3),
        ("float | None", None, None),
        ("float | None", 2, 2.0),
        ("bool", True, True),
        ("str", "1e-3", "1e-3"),
        ("list[str]", ["a", "b"], ["a", "b"]),
        ("list[float]", [1, "1e-3"], [1.0, 1e-3]),
        ("Literal['squish', 'crop']", "crop", "crop"),
    ],
)
def test_a_fitting_value_is_taken(annotation, value, expected, write_stage):
    taken = parameter(annotation, "squish", write_stage).check(value)
    assert taken == expected
    assert type(taken) is type(expected)


@pytest.mark.parametrize(
    ("annotation", "value"),
    [
        ("int", True),
        ("int", 3.0),
        ("int", "3"),
        ("float", True),
        ("float", math.nan),
        ("float", math.inf),
        ("float", ".inf"),
        ("bool", 1),
        ("str", 5),
        ("str", False),
        ("int", None),
        ("list[str]", "a"),
        ("list[str]", [1]),
        ("float | None", "none"),
        ("Literal['squish', 'crop']", "stretch"),
    ],
)
def test_another_type_is_refused_by_name(annotation, value, write_stage):
    with pytest.raises(CallError, match=r"train\.x is .*, which is not "):
        parameter(annotation, "squish", write_stage).check(value)


@given(st.one_of(st.integers(), st.floats(), st.text(), st.booleans(), st.none(), st.lists(st.integers())))
def test_a_check_gives_the_asked_type_or_refuses(value):
    whole = Parameter("train", "x", "int | None", None, "", int | None)
    try:
        assert type(whole.check(value)) in (int, type(None))
    except CallError:
        assert type(value) is not int
        assert value is not None


@pytest.mark.parametrize(
    "cell", ["x: int = 2 * 3", "import os", "x: int", "x: Path = 3", "x = y = 3", "x: int = ", "x: dict[str, int] = 3"]
)
def test_a_cell_that_computes_is_refused_with_the_notebooks_name(cell, write_stage):
    write_stage("tune", parameters=cell)
    with pytest.raises(FastrecError, match="04_tune"):
        read_parameters("tune")


def test_a_notebook_that_is_none_is_named(tiny_home):
    (tiny_home / "notebooks" / "05_evaluate.ipynb").write_text("{")
    with pytest.raises(FastrecError, match="05_evaluate"):
        read_parameters("evaluate")
