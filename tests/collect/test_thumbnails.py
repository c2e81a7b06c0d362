"""Thumbnails lie on disk, come back as they were, and are gone with who made them."""

from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastrec.collect.thumbnails import BYTES, Thumbnails
from fastrec.files import FastrecError


@given(parts=st.lists(st.lists(st.binary(min_size=BYTES, max_size=BYTES), max_size=3), max_size=4), data=st.data())
def test_any_of_them_come_back_in_any_order(tmp_path_factory, parts, data):
    put = [levels for part in parts for levels in part]
    asked = data.draw(st.lists(st.integers(0, len(put) - 1), max_size=6)) if put else []
    with closing(Thumbnails(tmp_path_factory.mktemp("thumbnails"))) as shown:
        for part in parts:
            shown.add(part)
        found = shown[np.array(asked, int)]
        assert len(shown) == len(put)
    assert found.shape == (len(asked), 16, 16, 3)
    assert [levels.tobytes() for levels in found] == [put[place] for place in asked]


def test_the_folder_shows_no_file(tmp_path):
    shown = Thumbnails(tmp_path / "new")
    shown.add([bytes(BYTES)])
    assert not list((tmp_path / "new").iterdir())
    shown.close()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
def test_a_full_disk_is_told_in_one_sentence_and_spoils_nothing(tmp_path):
    with closing(Thumbnails(tmp_path)) as shown, Path("/dev/full").open("r+b", buffering=0) as full:
        shown.add([bytes(BYTES)])
        kept, shown._file = shown._file, full
        with pytest.raises(FastrecError, match=r"thumbnails was not written.*the disk is full"):
            shown.add([bytes(BYTES)])
        shown._file = kept
        shown.add([b"\1" * BYTES])
        assert shown[np.array([1])].mean() == 1


def test_a_folder_that_may_not_be_made_is_named(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(FastrecError, match=r"was not written.*(exists|not a directory)"):
        Thumbnails(tmp_path / "file")
