"""Where many items are mapped: over local processes, in order, so that no item costs more than itself.

Files from strangers end a decoder's process, fill its memory or keep it busy for hours.  So items are never
mapped in this process: light children do it, each under a limit of memory and of time per item.
"""

from __future__ import annotations

import gc
import os
import pickle
import queue
import threading
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar

from fastrec.children import Child, Lost

Item = TypeVar("Item")
Result = TypeVar("Result")

SECONDS = 30.0  # for one item
MEMORY = 4 * 2**30  # address space of a child, in bytes: the largest picture that is decoded takes half of it
CHUNK = 256  # most items sent together: what is left of them is tried one by one if one of them ends its child
PAYS = 8  # items for which it pays to start one more child


def workers() -> int:
    """Return how many processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class OnDemand(Sequence[Item]):
    """Items for `map_items` that are made when their turn comes, so that the first need not wait for the last.

    Parameters
    ----------
    count
        How many.
    make
        Makes one from its position; called by several threads.
    """

    def __init__(self, count: int, make: Callable[[int], Item]) -> None:
        self._places, self._make = range(count), make

    def __len__(self) -> int:
        return len(self._places)

    def __getitem__(self, place: Any) -> Any:
        if isinstance(place, slice):
            return [self._make(one) for one in self._places[place]]
        return self._make(self._places[place])


@contextmanager
def without_garbage_collection() -> Iterator[None]:
    """Make many lasting objects: the collector would walk over all of them again and again, and find nothing."""
    collecting = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collecting:
            gc.enable()


def start(count: int) -> None:
    """Start the children that will map ``count`` items: they load while this process prepares the items."""
    Child.start(_children(count), MEMORY)


def _children(count: int, processes: int | None = None) -> int:
    return min(processes or workers(), -(-count // PAYS))


def map_items(
    function: Callable[[Item], Result],
    items: Sequence[Item],
    processes: int | None = None,
    seconds: float = SECONDS,
    memory: int = MEMORY,
    *,
    finish: Callable[[list[Any]], list[Any]] | None = None,
) -> Generator[Result | Lost, None, None]:
    """Yield ``function(item)`` for each item, in the items' order, or `Lost` for one that ended its process.

    Children stay for a while for the next call.  Close the iterator to stop early.

    Parameters
    ----------
    function
        A function of a module (or a ``partial`` of one) that loads quickly: it is sent by name.
    items
        Plain values, sent in chunks.
    processes
        How many; None for one per processor.
    seconds, memory
        Limits of one item, and of one child in bytes.  Windows knows neither, macOS no memory limit.
    finish
        What takes several results at once, before they leave their child, and returns as many.

    Raises
    ------
    Exception
        What ``function`` raised, in the place of its item.
    FastrecError
        If no child can be started.
    """
    count = _children(len(items), processes)
    chunk = max(1, min(CHUNK, len(items) // (4 * max(1, count))))
    task = _Task(pickle.dumps((function, seconds, finish)), memory, items, chunk)
    threads = [threading.Thread(target=task.work, daemon=True) for _ in range(count)]
    try:
        for thread in threads:
            thread.start()
        yield from task.results()
    finally:
        task.stop()
        for thread in threads:
            thread.join()


@dataclass
class _Task:
    """One call of `map_items`: its threads take chunks, give each to a child and deliver what it returns."""

    setup: bytes
    memory: int
    items: Sequence[Any]
    chunk: int
    taken: int = 0
    stopped: bool = False
    guard: threading.Lock = field(default_factory=threading.Lock)
    delivered: queue.SimpleQueue[tuple[int, list[tuple[bool, Any]]]] = field(default_factory=queue.SimpleQueue)
    busy: set[Child] = field(default_factory=set)

    def results(self) -> Iterator[Any]:
        waiting: dict[int, list[tuple[bool, Any]]] = {}
        place = 0
        while place < len(self.items):
            while place not in waiting:
                start, results = self.delivered.get()
                waiting[start] = results
            results = waiting.pop(place)
            place += len(results)
            for good, value in results:
                if not good:
                    raise value
                yield value

    def work(self) -> None:
        """Work through chunks until none is left; each is made while the child is busy with the one before."""
        ahead = [self._take()]

        def make_ahead() -> None:
            if not ahead:
                ahead.append(self._take())

        while (taken := ahead.pop()) is not None:
            start, chunk = taken
            try:
                if isinstance(chunk, Exception):
                    raise chunk
                self._map(start, chunk, make_ahead)
            except Exception as error:  # belongs to whoever reads the results
                self.delivered.put((start, [(False, error)]))
            make_ahead()

    def _take(self) -> tuple[int, list[Any] | Exception] | None:
        with self.guard:
            start, self.taken = self.taken, self.taken + self.chunk
        if self.stopped or start >= len(self.items):
            return None
        try:
            return start, list(self.items[start : start + self.chunk])
        except Exception as error:
            return start, error

    def _map(self, start: int, chunk: list[Any], meanwhile: Callable[[], None] | None = None) -> None:
        """Have a child map a chunk; if it dies, what is left has a second chance, one by one.

        That shows whose fault it was; and a process may die of what others do to the system's memory.
        """
        child, done = Child.ready(self.setup, self.memory), 0
        with self.guard:
            self.busy.add(child)
        try:
            for results in child.map([] if self.stopped else chunk):
                self.delivered.put((start + done, results))
                done += len(results)
                if meanwhile is not None:
                    meanwhile()
        finally:
            with self.guard:
                self.busy.discard(child)
        if done == len(chunk):
            child.rest()
            return
        fault = child.end()
        for place in range(done, 0 if self.stopped else len(chunk)):
            if meanwhile is None:  # this was the second chance
                self.delivered.put((start + place, [(True, fault)]))
            else:
                self._map(start + place, [chunk[place]])

    def stop(self) -> None:
        """End the children at once, if any still works."""
        with self.guard:
            self.stopped = True
            for child in self.busy:
                child.process.kill()


def progress(items: Iterable[Any], total: int | None, what: str, unit: str = "image") -> Iterator[Any]:
    """Pass items on while a bar shows how many are done: in a notebook, a terminal and a log alike."""
    from tqdm import tqdm

    yield from tqdm(items, total=total, desc=what, unit=unit, mininterval=2.0, delay=2.0, ascii=" =", ncols=88)
