import math

import nbformat
import papermill
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastrec.files import FastrecError
from fastrec.pipeline.limits import Range, read_limits, within
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
        ("float | None", "None", None),
        ("int | None", "null", None),
        ("str | None", "None", "None"),
        ("list[float | None]", ["None", 1], [None, 1.0]),
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
        ("int", "None"),
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


# ------------------------------------------------------------ limits that the help ends with


def limited(annotation, default, text, write_stage):
    write_stage("train", parameters=f"x: {annotation} = {default!r}  # what it is {text}")
    return read_parameters("train")["x"]


@pytest.mark.parametrize(
    ("annotation", "text", "default", "fitting", "refused"),
    [
        ("int", "[1..]", 20, [1, 10**9], [0, -1]),
        ("float", "[0.01..0.9]", 0.2, [0.01, 0.9, "1e-1"], [0.009, 0.91, 1]),
        ("float", "[..1e-1]", 0.0, [0.1, -5], [0.11]),
        ("int", "[-2 .. 2]", 0, [-2, 2], [-3, 3]),
        ("float | None", "[0..]", None, [None, "None", 0], [-0.1]),
        ("list[int]", "[8..64]", [16], [[8, 64], []], [[16, 65], [7]]),
        ("str", "[none|light|strong]", "light", ["none", "strong"], ["", "heavy", "none|light"]),
        ("str | list[str]", "[a | b]", "a", ["b", ["a", "b"]], ["c", ["a", "c"]]),
        ("int", "[16|32]", 16, [32], [24]),
    ],
)
def test_limits_at_the_end_of_the_help_are_kept(annotation, text, default, fitting, refused, write_stage):
    found = limited(annotation, default, text, write_stage)
    assert found.help == f"what it is {text}"
    for value in fitting:
        found.check(value)
    for value in refused:
        with pytest.raises(CallError) as caught:
            found.check(value)
        assert f"train.x is {value!r}" in str(caught.value)
        assert caught.value.exit_code == 2


@pytest.mark.parametrize(
    ("annotation", "text", "default", "value", "told"),
    [
        ("int", "[1..]", 1, 0, "train.x is 0, which is not allowed: take 1 or more."),
        ("float", "[..0.5]", 0.1, 1, "train.x is 1, which is not allowed: take 0.5 or less."),
        ("float", "[0.01..0.9]", 0.2, 1.5, "train.x is 1.5, which is not allowed: take from 0.01 to 0.9."),
        ("str", "[a|b|c]", "a", "d", "train.x is 'd', which is not allowed: take a, b or c."),
    ],
)
def test_a_value_beyond_its_limits_is_told_what_is_allowed(annotation, text, default, value, told, write_stage):
    with pytest.raises(CallError) as caught:
        limited(annotation, default, text, write_stage).check(value)
    assert str(caught.value) == told


def test_the_type_is_told_before_the_limits(write_stage):
    with pytest.raises(CallError, match="which is not int"):
        limited("int", 5, "[1..]", write_stage).check("many")


@pytest.mark.parametrize("text", ["", "in pixels [px]", "[1..3] in pixels", "see [1]", "[]", "old=new, old= drops it"])
def test_other_help_has_no_limits(text):
    assert read_limits(text) is None


@pytest.mark.parametrize(
    ("annotation", "default", "text"),
    [
        ("int", 0, "[1..]"),
        ("str", "heavy", "[light|strong]"),
        ("str", "a", "[1..3]"),
        ("int", 1, "[3..1]"),
        ("int", 1, "[..]"),
        ("int", 1, "[one..two]"),
        ("int", 1, "[1...3]"),
        ("str", "a", "[a|]"),
    ],
)
def test_limits_that_are_none_or_that_the_default_breaks_name_the_notebook(annotation, default, text, write_stage):
    with pytest.raises(FastrecError, match=r"03_train\.ipynb: parameter x "):
        limited(annotation, default, text, write_stage)


@given(st.integers(-50, 50), st.integers(0, 50), st.integers(-200, 200))
def test_a_range_includes_its_ends_and_nothing_beyond(low, length, value):
    limits = read_limits(f"help [{low}..{low + length}]")
    assert limits == Range(low, low + length)
    assert within(limits, value) is (low <= value <= low + length)
