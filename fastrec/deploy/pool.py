"""A few threads that answer, and a short queue before them: what does not fit is told to come back."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from fastrec.deploy.replies import Refusal

Result = TypeVar("Result")


class Pool:
    """Bounded concurrency for work that takes a processor.

    Parameters
    ----------
    workers
        How many jobs run at once.
    queue
        How many may wait besides; the next one is refused.
    """

    def __init__(self, workers: int, queue: int) -> None:
        self._executor = ThreadPoolExecutor(workers, thread_name_prefix="answer")
        self._room = workers + queue
        self.jobs = 0

    async def run(self, function: Callable[..., Result], *arguments: object) -> Result:
        """Run ``function(*arguments)`` in a thread and wait for it.

        Raises
        ------
        Refusal
            503 with ``Retry-After`` when the queue is full.
        """
        if self.jobs >= self._room:
            raise busy()
        self.jobs += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._executor, function, *arguments)
        finally:
            self.jobs -= 1

    def close(self) -> None:
        """Drop what waits and let the threads end."""
        self._executor.shutdown(wait=False, cancel_futures=True)


def busy() -> Refusal:
    """Refuse because too many requests wait."""
    return Refusal(503, "busy", "too many requests wait for an answer", "try again in a second", {"retry-after": "1"})
