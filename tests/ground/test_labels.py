import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from fastrec import labels

NAMES = st.text(st.characters(exclude_characters="|", exclude_categories=["Cs"]), min_size=1)


@given(st.sets(NAMES))
def test_what_is_joined_is_split_again(names):
    assert labels.split(labels.join(names)) == sorted(names)


def test_indicators_mark_every_label_of_a_picture():
    found = labels.indicators(["b|c", "a", ""], ["a", "b", "c"])
    np.testing.assert_array_equal(found, [[0, 1, 1], [1, 0, 0], [0, 0, 0]])
