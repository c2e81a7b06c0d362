"""How far a run is: a live line in a terminal, few plain lines in a log."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from rich.progress import Progress as RichProgress
    from rich.progress import TaskID

QUIET_SECONDS = 30.0  # a log gets at most one line of progress in this time


class LogProgress:
    """A line when a stage starts and one when it ends; between them at most one per half minute."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._head = ""
        self._started = self._said = 0.0

    def __enter__(self) -> LogProgress:
        return self

    def __exit__(self, *_error: object) -> None:
        return None

    def begin(self, head: str, reason: str) -> None:
        """Say that a stage starts: ``head`` is such as ``3/7 train``."""
        self._head, self._started = head, time.monotonic()
        self.say(f"{head}: started ({reason})")

    def cell(self, number: int, count: int) -> None:
        """Say which code cell runs, unless something was said just now."""
        if time.monotonic() - self._said >= QUIET_SECONDS:
            self.say(f"{self._head}: cell {number} of {count}, {time.monotonic() - self._started:.0f} s")

    def end(self, result: str) -> None:
        """Say how the stage ended."""
        self.say(f"{self._head}: {result} ({time.monotonic() - self._started:.1f} s)")

    def say(self, line: str) -> None:
        """Write one line."""
        self._said = time.monotonic()
        print(line, file=self._stream, flush=True)


class LiveProgress(LogProgress):
    """One moving line per stage, with its cells and its clock."""

    def __init__(self, stream: TextIO) -> None:
        super().__init__(stream)
        self._bars = _bars(stream)
        self._task: TaskID | None = None
        self._cell = (0, 0)

    def __enter__(self) -> LiveProgress:
        self._bars.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._bars.stop()

    def begin(self, head: str, reason: str) -> None:
        """Show the stage's bar, empty."""
        self._head, self._started, self._cell = head, time.monotonic(), (0, 0)
        self._task = self._bars.add_task(head, total=None)

    def cell(self, number: int, count: int) -> None:
        """Move the bar, if the cell is another one."""
        if self._task is not None and self._cell != (number, count):
            self._cell = number, count
            self._bars.update(self._task, completed=number - 1, total=count, refresh=True)

    def end(self, result: str) -> None:
        """Leave a line in the bar's place."""
        if self._task is not None:
            self._bars.remove_task(self._task)
        super().end(result)

    def say(self, line: str) -> None:
        """Write one line above the bar."""
        self._bars.console.print(line, markup=False, highlight=False)


def _bars(stream: TextIO) -> RichProgress:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(24), TextColumn("cell"), MofNCompleteColumn())
    return Progress(*columns, TimeElapsedColumn(), console=Console(file=stream), transient=True)


def progress(stream: TextIO | None = None) -> LogProgress:
    """Return the way of showing progress that suits where standard error goes."""
    stream = stream or sys.stderr
    return LiveProgress(stream) if stream.isatty() else LogProgress(stream)
