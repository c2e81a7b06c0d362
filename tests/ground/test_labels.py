import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from fastrec import labels

NAMES = st.text(st.characters(exclude_characters="|", exclude_categories=["Cs"]), min_size=1)


@given(st.sets(NAMES))
def test_what_is_joined_is_split_again(names):
    assert labels.split(labels.join(names)) == sorted(names)


def test_a_set_is_multi_label_as_soon_as_one_picture_has_not_one_label():
    assert not labels.several([["a"], ["b"]])
    assert labels.several([["a"], []])
    assert labels.several([["a"], ["b", "c"]])


def test_a_bar_parts_labels_only_where_there_are_several():
    assert labels.each("a|b", True) == ["a", "b"]
    assert labels.each("a|b", False) == ["a|b"]
    assert [labels.told(text) for text in ("a|b", "a", "")] == ["a + b", "a", "no label"]


@given(st.lists(st.lists(st.floats(0, 1), min_size=3, max_size=3), min_size=1, max_size=20))
def test_of_one_label_the_likeliest_answers(rows):
    scores = np.array(rows)
    texts, certainty = labels.answers(scores, ["a", "b", "c"], None)
    assert certainty.tolist() == scores.max(1).tolist()
    assert ["abc".index(text) for text in texts] == scores.argmax(1).tolist()


@given(
    st.lists(st.lists(st.floats(0, 1), min_size=3, max_size=3), min_size=1, max_size=20),
    st.lists(st.floats(0, 1), min_size=3, max_size=3),
)
def test_of_several_labels_those_from_their_threshold_on_answer(rows, thresholds):
    scores = np.array(rows)
    texts, certainty = labels.answers(scores, ["a", "b", "c"], thresholds)
    held = labels.indicators(texts, ["a", "b", "c"])
    np.testing.assert_array_equal(held, scores >= thresholds)
    for row, taken, sure in zip(scores, held, certainty, strict=True):
        assert sure == np.prod([p if yes else 1 - p for p, yes in zip(row, taken, strict=True)])


def test_indicators_mark_every_label_of_a_picture():
    found = labels.indicators(["b|c", "a", ""], ["a", "b", "c"])
    np.testing.assert_array_equal(found, [[0, 1, 1], [1, 0, 0], [0, 0, 0]])
