"""Ctrl-C and SIGTERM: the kernel gets time to save, then this process ends with the right exit code."""

from __future__ import annotations

import os
import signal
import threading
from contextlib import suppress
from types import FrameType

PATIENCE = 10.0  # seconds a cell has to save and end before its kernel is killed


class Interrupted(BaseException):
    """A signal ended the run.  No ``Exception``, so that no library takes it for a fault and goes on."""

    def __init__(self, number: int) -> None:
        super().__init__(f"interrupted by {signal.Signals(number).name}: run the same command again to continue.")
        self.exit_code = 128 + number


class Interruption:
    """While entered, catches SIGINT and SIGTERM.

    Without a kernel the first one raises `Interrupted` at once.  With one, the cell gets a
    KeyboardInterrupt; after ten seconds, or at a second signal, the kernel is killed.
    """

    def __init__(self) -> None:
        self.number: int | None = None
        self._kernel: int | None = None
        self._timer: threading.Timer | None = None
        self._before: dict[int, signal._HANDLER] = {}

    def __enter__(self) -> Interruption:
        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal.signal(number, self._arrive) for number in (signal.SIGINT, signal.SIGTERM)}
        return self

    def __exit__(self, *_error: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self.release()

    def guard(self, kernel: int) -> None:
        """From now on a signal goes to the kernel with this process id first."""
        self._kernel = kernel

    def release(self) -> None:
        """The kernel has ended: a signal is for this process again."""
        self._kernel = None
        if self._timer:
            self._timer.cancel()

    def check(self) -> None:
        """Raise `Interrupted` if a signal came while a kernel ran."""
        if self.number is not None:
            raise Interrupted(self.number)

    def _arrive(self, number: int, _frame: FrameType | None) -> None:
        first, self.number = self.number is None, number
        if self._kernel is None:
            raise Interrupted(number)
        if first:
            self._send(signal.SIGINT)
            self._timer = threading.Timer(PATIENCE, self._send, (signal.SIGKILL,))
            self._timer.daemon = True
            self._timer.start()
        else:
            self._send(signal.SIGKILL)

    def _send(self, number: int) -> None:
        """Signal the kernel and its workers, which are one process group."""
        if self._kernel is not None:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self._kernel, number)
