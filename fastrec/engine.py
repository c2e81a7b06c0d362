"""Where many items are mapped: in this process or over local processes, always in order."""

from __future__ import annotations

import multiprocessing
import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import Any, TypeVar

from fastrec.files import FastrecError

Item = TypeVar("Item")
Result = TypeVar("Result")

START = 2.0  # seconds that starting processes takes: work that is over sooner stays in this process


def workers() -> int:
    """Return how many processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def map_items(
    function: Callable[[Item], Result], items: Sequence[Item], processes: int | None = None
) -> Iterator[Result]:
    """Yield ``function(item)`` for each item, in the items' order.

    Parameters
    ----------
    function
        A module-level function: it is sent to other processes by name.
    items
        Sent in chunks.
    processes
        How many; None begins in this process and moves on to all processors if much is left to do.

    Raises
    ------
    FastrecError
        If a worker process was ended from outside, as a system short of memory does.
    """
    done = 0
    if processes is None:
        for result in _while_quick(function, items):
            done += 1
            yield result
    elif processes == 1:
        yield from map(function, items)
        return
    if done < len(items):
        yield from _over_processes(function, items[done:], processes or workers())


def _while_quick(function: Callable[[Item], Result], items: Sequence[Item]) -> Iterator[Result]:
    """Work in this process until it is clear that the rest would pay for starting others."""
    spent = 0.0
    for done, item in enumerate(items, start=1):
        began = time.perf_counter()
        result = function(item)
        spent += time.perf_counter() - began
        yield result
        left = spent / done * (len(items) - done)
        if workers() > 1 and spent > START / 4 and left * (1 - 1 / workers()) > START:
            return


def _over_processes(function: Callable[[Item], Result], items: Sequence[Item], processes: int) -> Iterator[Result]:
    # spawn, not fork: a notebook's process may hold threads and locks that a fork would copy half-way
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(processes, mp_context=context) as pool:
        chunk = max(1, min(256, len(items) // (processes * 8)))
        try:
            yield from pool.map(function, items, chunksize=chunk)
        except BrokenProcessPool as error:
            cause = """memory ran out, or the calling script lacks 'if __name__ == "__main__":'"""
            raise FastrecError(f"a worker process ended ({cause}): mend that and run again.") from error


def progress(items: Iterable[Any], total: int, what: str, unit: str = "image") -> Iterator[Any]:
    """Pass items on while a bar shows how many are done: in a notebook, a terminal and a log alike."""
    from tqdm import tqdm

    yield from tqdm(items, total=total, desc=what, unit=unit, mininterval=2.0, delay=2.0, ascii=" =", ncols=88)
