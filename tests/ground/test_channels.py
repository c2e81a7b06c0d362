"""Grey: Pillow's rule in whole numbers, the same wherever it is asked for."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image

from fastrec import channels
from fastrec.files import FastrecError

PICTURES = arrays.arrays(np.uint8, st.tuples(st.integers(1, 6), st.integers(1, 6), st.just(3)))


@given(PICTURES)
def test_grey_is_pillows_and_that_of_whole_numbers(pixels):
    grey = channels.reduced(pixels, 1)
    assert (grey.shape, grey.dtype) == ((*pixels.shape[:2], 1), np.uint8)
    np.testing.assert_array_equal(grey[..., 0], np.asarray(Image.fromarray(pixels).convert("L")))
    luma = (pixels.astype(np.int64) @ channels.WEIGHTS + channels.HALF) // channels.WHOLE
    np.testing.assert_array_equal(grey[..., 0], luma)


@given(PICTURES)
def test_the_grey_of_a_grey_picture_is_itself(pixels):
    grey = channels.reduced(pixels, 1)
    shown = channels.expanded(grey)
    assert shown.shape == pixels.shape
    np.testing.assert_array_equal(channels.reduced(shown, 1), grey)


@given(PICTURES)
def test_colour_stays_as_it_is(pixels):
    np.testing.assert_array_equal(channels.reduced(pixels, 3), pixels)
    np.testing.assert_array_equal(channels.expanded(pixels), pixels)


def test_another_colour_is_refused():
    assert channels.count("grey") == 1
    with pytest.raises(FastrecError, match="colour is 'gray': take one of rgb, grey"):
        channels.count("gray")
