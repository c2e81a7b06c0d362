import pytest

from fastrec.records import Interval
from fastrec.report import words


@pytest.mark.parametrize(
    ("value", "low", "high", "told"),
    [
        (0.982, 0.95, 0.995, ("about 98", "95 to 100")),
        (0.9833, 0.972, 0.994, ("about 98.3", "97.2 to 99.4")),
        (0.5, None, None, ("about 50", "")),
        (None, None, None, ("an unknown number", "")),
    ],
)
def test_a_share_is_told_of_a_hundred(value, low, high, told):
    assert words.of_hundred(Interval(value=value, low=low, high=high)) == told


def test_durations_and_sizes_use_units_that_fit():
    assert [words.seconds(number) for number in (0.42, 42, 185, 3720)] == ["0.4 s", "42 s", "3 min 5 s", "1 h 2 min"]
    assert [words.size(number) for number in (12, 3100, 842_000, 3_140_000, 2.5e9)] == [
        "12 bytes",
        "3.1 kB",
        "842 kB",
        "3.1 MB",
        "2.5 GB",
    ]


def test_figures_without_interval_or_value_are_told_too():
    assert words.figure(Interval(value=0.5, low=0.4, high=0.6)) == "0.500 (0.400 to 0.600)"
    assert words.figure(Interval(value=0.5)) == "0.500"
    assert words.figure(Interval(value=None)) == "–"


def test_many_names_are_shortened():
    assert words.listing(["a", "b"]) == "a, b"
    assert words.listing([str(number) for number in range(1000)], most=3) == "0, 1 and 998 more"


def test_plurals():
    assert words.plural(1, "picture") == "1 picture"
    assert words.plural(1797, "picture") == "1,797 pictures"
    assert words.plural(10, "class") == "10 classes"
