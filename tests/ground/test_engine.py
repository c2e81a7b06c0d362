"""Mapping keeps order and errors, in this process and over others."""

from __future__ import annotations

import os
import signal

import pytest

from fastrec import engine
from fastrec.files import FastrecError
from fastrec.images import ImageError


def square(x: int) -> int:
    return x * x


def where(_: int) -> int:
    return os.getpid()


def refuse(x: int) -> int:
    if x == 7:
        raise ImageError("truncated", "is cut short")
    return x


def die(x: int) -> int:
    if x == 5:
        os.kill(os.getpid(), signal.SIGKILL)
    return x


@pytest.mark.parametrize("processes", [None, 1, 2])
def test_results_come_in_the_order_of_the_items(processes):
    assert list(engine.map_items(square, range(100), processes)) == [k * k for k in range(100)]


def test_no_items_give_no_results():
    assert list(engine.map_items(square, [])) == []


def test_few_items_stay_in_this_process_and_many_do_not(monkeypatch):
    assert set(engine.map_items(where, range(50))) == {os.getpid()}
    monkeypatch.setattr(engine, "START", 0.0)
    monkeypatch.setattr(engine, "workers", lambda: 2)
    assert len(set(engine.map_items(where, range(50)))) > 1


@pytest.mark.parametrize("processes", [1, 2])
def test_a_fault_arrives_as_what_it_was(processes):
    results = engine.map_items(refuse, range(20), processes)
    with pytest.raises(ImageError, match="is cut short") as caught:
        list(results)
    assert caught.value.code == "truncated"


def test_a_killed_worker_is_one_sentence():
    with pytest.raises(FastrecError, match=r"^a worker process ended \(memory ran out.*run again\.$"):
        list(engine.map_items(die, range(20), 2))


def test_workers_are_what_this_process_may_use():
    assert 1 <= engine.workers() <= (os.cpu_count() or 1)


def test_progress_passes_everything_on(capsys):
    assert list(engine.progress(iter("abc"), 3, "letters")) == ["a", "b", "c"]
