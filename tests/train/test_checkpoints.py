"""Checkpoints: damaged ones are passed over, foreign ones named, and a full disk keeps what there is."""

import shutil

import pytest
import torch

from fastrec.files import FastrecError
from fastrec.train.checkpoints import Checkpoints

KEY = {"learning_rate": 0.01, "data": "abc"}


@pytest.fixture
def saved(tmp_path):
    made = Checkpoints(tmp_path / "checkpoints", KEY)
    for step in (5, 10, 15):
        made.save(step, {"step": step, "weights": torch.arange(step)})
    return made


def test_the_last_two_are_kept_and_the_newest_is_read(saved):
    assert len(list(saved.folder.glob("*.pt"))) == 2
    state, notes = saved.latest()
    assert state["step"] == 15
    assert notes == []


@pytest.mark.parametrize("damage", [b"", b"half", None])
def test_a_damaged_one_is_named_and_the_one_before_is_read(saved, damage):
    newest = max(saved.folder.glob("*.pt"))
    data = bytearray(newest.read_bytes())
    data[len(data) // 2] ^= 1
    newest.write_bytes(data if damage is None else damage)
    state, notes = saved.latest()
    assert state["step"] == 10
    assert newest.name in notes[0]


def test_checkpoints_of_another_training_are_not_used_and_said_why(saved):
    other = Checkpoints(saved.root, KEY | {"learning_rate": 0.02})
    state, (note,) = other.latest()
    assert state is None
    assert "learning_rate was 0.01, is 0.02" in note
    assert "data" not in note
    assert saved.latest()[0]["step"] == 15  # and they are still there


def test_a_pickle_in_a_checkpoint_is_not_run(saved):
    class Evil:
        def __reduce__(self):
            return (print, ("run!",))

    saved.save(20, {"step": Evil()})
    with pytest.raises(Exception, match="Weights only load failed"):
        saved.latest()


def test_a_full_disk_is_one_sentence_and_the_old_checkpoint_stays(saved, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda _: type("Usage", (), {"free": 10})())
    with pytest.raises(FastrecError, match="make room and run again") as caught:
        saved.save(20, {"step": 20})
    assert "\n" not in str(caught.value)
    assert saved.latest()[0]["step"] == 15


def test_clearing_removes_all(saved):
    saved.clear()
    assert not saved.root.exists()
    assert saved.latest() == (None, [])
