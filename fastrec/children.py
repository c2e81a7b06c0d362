"""Light child processes that work under limits: what one of them dies of costs nobody else.

A child imports neither its parent's ``__main__``, so that notebooks and scripts need no guard, nor anything heavy:
it is there in a fraction of a second.  It ends when its parent does, or when nothing was asked of it for a while.
"""

from __future__ import annotations

import atexit
import gc
import os
import pickle
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from fastrec.allocation import keep_freed
from fastrec.files import FastrecError

IDLE = 60  # seconds after which a child without work ends
OFTEN = 0.1  # seconds after which a child gives away what it has,
KEPT = 2**27  # bytes of freed memory that a child keeps for its next item
BATCH = 32  # or results: few enough to stay in the processor's cache while they are finished


@dataclass(frozen=True)
class Lost:
    """What takes the place of a result: the item's code, and a message that continues "PATH ..."."""

    code: str  # ``timeout``, ``memory`` or ``crashed``
    message: str


class Child:
    """A process that maps chunks.  It imports neither this process's ``__main__`` nor anything heavy."""

    def __init__(self, memory: int) -> None:
        path = [os.fspath(place) for place in sys.path]
        code = f"import sys; sys.path[:] = {path!r}; from fastrec import children, images; children.serve({memory})"
        threads = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}  # each would take memory
        self.process = subprocess.Popen(
            [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=os.environ | threads
        )
        self.memory = memory
        self.setup = b""

    @classmethod
    def start(cls, count: int, memory: int) -> None:
        """Start children until ``count`` are idle: they load while this process prepares their work."""
        while len(_idle) < count:
            _idle.append(cls(memory))

    @classmethod
    def ready(cls, setup: bytes, memory: int) -> Child:
        """Return a child that knows its function: one that is idle, or a new one."""
        while _idle:
            with suppress(IndexError):
                child = _idle.pop()
                if child.memory == memory and child.process.poll() is None and child._prepared(setup):
                    return child
                child.end()
        child = cls(memory)
        if not child._prepared(setup):
            fault = child.end()
            raise FastrecError(
                f"a worker process did not start (it {fault.message}): see what it printed, and mend it."
            )
        return child

    def _prepared(self, setup: bytes) -> bool:
        if setup == self.setup:
            return True
        answer = self._ask(setup)
        if isinstance(answer, Exception):
            self.end()
            raise FastrecError(f"a worker process cannot load its function ({answer}): put it into a module.")
        self.setup = setup
        return answer is not None

    def map(self, items: list[Any]) -> Iterator[list[tuple[bool, Any]]]:
        """Yield results as they come, several at a time; ends early if the child dies."""
        left = len(items)
        answer = self._ask(items) if items else None
        while answer is not None:
            yield answer
            left -= len(answer)
            answer = self._answer() if left else None

    def _ask(self, message: Any) -> Any:
        assert self.process.stdin is not None
        try:
            pickle.dump(message, self.process.stdin)
            self.process.stdin.flush()
        except OSError:  # it died
            return None
        return self._answer()

    def _answer(self) -> Any:
        assert self.process.stdout is not None
        try:
            return pickle.load(self.process.stdout)
        except (OSError, EOFError, pickle.UnpicklingError):
            return None

    def rest(self) -> None:
        """Wait for the next call, see :meth:`ready`."""
        _idle.append(self)

    def end(self) -> Lost:
        """End the process, and tell of what it died if it did."""
        for stream in (self.process.stdin, self.process.stdout):
            with suppress(OSError):  # what was not sent cannot be
                stream.close()  # type: ignore[union-attr]
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(1)
        self.process.kill()
        number = -self.process.wait()
        if number == getattr(signal, "SIGALRM", None):
            return Lost("timeout", "takes too long to decode: save it anew, smaller or as another format")
        name = signal.Signals(number).name if number > 0 else f"exit {-number}"
        return Lost("crashed", f"makes the decoder crash ({name}): save it anew as PNG or JPEG")


_idle: list[Child] = []


@atexit.register
def stop() -> None:
    """End the children that are idle; the next call starts others."""
    while _idle:
        _idle.pop().end()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_idle.clear)  # they belong to the parent


def serve(memory: int) -> None:
    """Be a child: answer each message from the standard input until its other end is closed."""
    inward, outward = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a library prints is no answer
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides what an interruption means
    _limit_memory(memory)
    keep_freed(KEPT)
    task = _Task()
    with suppress(EOFError):
        while True:
            _set_alarm(IDLE)
            message = pickle.load(inward)
            if isinstance(message, bytes):
                answer, task = _set_up(message)
                answers: Iterable[Any] = [answer]
            else:
                answers = task.map(message)
            for answer in answers:
                pickle.dump(answer, outward)
                outward.flush()


@dataclass(frozen=True)
class _Task:
    """What a child does with items: see `fastrec.engine.map_items`."""

    function: Callable[[Any], Any] = repr
    seconds: float = 0.0
    finish: Callable[[list[Any]], list[Any]] | None = None

    def map(self, items: list[Any]) -> Iterator[list[tuple[bool, Any]]]:
        """Map items and give the results away now and then: slow ones show progress, and survive what comes after."""
        results, began = [], time.monotonic()
        for place, item in enumerate(items, start=1):
            results.append(self._result(item))
            if place == len(items) or len(results) == BATCH or time.monotonic() - began > OFTEN:
                yield self._finished(results)
                results, began = [], time.monotonic()

    def _result(self, item: Any) -> tuple[bool, Any]:
        _set_alarm(self.seconds)
        try:
            return True, self.function(item)
        except MemoryError:
            return True, Lost("memory", "takes too much memory to decode: make it smaller")
        except Exception as error:
            return False, _sendable(error)
        finally:
            _set_alarm(0)

    def _finished(self, results: list[tuple[bool, Any]]) -> list[tuple[bool, Any]]:
        if self.finish is None:
            return results
        whole = [k for k, (good, value) in enumerate(results) if good and not isinstance(value, Lost)]
        try:
            for k, value in zip(whole, self.finish([results[k][1] for k in whole]), strict=True):
                results[k] = (True, value)
        except Exception as error:
            results = [(False, _sendable(error))] * len(results)
        return results


def _set_up(message: bytes) -> tuple[Any, _Task]:
    try:
        task = _Task(*pickle.loads(message))
        gc.freeze()  # what was imported stays: the collector need not walk over it for every few pictures
        return True, task
    except Exception as error:
        return FastrecError(f"{type(error).__name__}: {error}"), _Task()


def _sendable(error: Exception) -> Exception:
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        return RuntimeError(f"{type(error).__name__}: {error}")
    return error


def _set_alarm(seconds: float) -> None:
    """Have the system end this process after so many seconds, wherever it then is; 0 takes that back."""
    if hasattr(signal, "setitimer"):
        signal.setitimer(signal.ITIMER_REAL, seconds)


def _limit_memory(memory: int) -> None:
    with suppress(ImportError, OSError, ValueError):  # not on Windows; refused on macOS
        import resource

        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
