"""Curves that grow while a network trains, for a person at the notebook."""

from __future__ import annotations

import io
import time
from collections.abc import Callable
from typing import Any

from fastai.callback.core import Callback
from fastai.learner import noop

from fastrec import plots
from fastrec.collect import controls

SECONDS = 1.0  # at least, between two drawings
SHARE = 0.01  # of the time spent on training that drawing may take
FIRST = 0.05  # seconds that a drawing is thought to take before there was one


class Live(Callback):
    """Draw loss and accuracy of train and valid into one display: after an epoch, if it is time, and after the fit.

    Nothing is drawn where nobody watches (`plots.history` is the static twin), nor where printing is off (``no_bar``,
    ``no_logging``), and training is the same, bit for bit, with and without it.

    Parameters
    ----------
    clock
        Seconds.
    """

    order = 110  # after Checkpointing (100), which brings back the epochs before a kill
    run_valid = False
    watches = True  # see fastrec.train.copies

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self.clock = clock
        self.spent = self.due = 0.0
        self.rows = 0  # drawn so far
        self.handle: Any = None
        self.cell: int | None = None  # that the display belongs to

    def before_fit(self) -> None:
        """Start the clock; after a kill, draw the epochs before it."""
        self.began, self.spent = self.clock(), 0.0
        self.due = self.began + FIRST / SHARE
        self.draw()

    def after_epoch(self) -> None:
        """Draw, if a second has passed and drawing stays cheap beside training."""
        if self.clock() >= self.due:
            self.draw()

    def after_fit(self) -> None:
        """Draw what is not drawn yet: this figure stays."""
        self.draw()

    def draw(self) -> None:
        """Draw all epochs so far, if there are new ones and somebody can see them."""
        rows = len(self.learn.history.rows)
        if rows == self.rows or hasattr(self.learn, "lr_finder") or not self._seen():
            return
        began = self.clock()
        self._show(self._png())
        self.rows, last = rows, self.clock() - began
        self.spent += last
        # the next one is due once all of them together, it too, have taken no more than their share
        self.due = max(self.clock() + SECONDS, self.began + (self.spent + last) / SHARE)

    def _seen(self) -> bool:
        return getattr(self.learn, "progress", None) is not None and self.learn.logger is not noop and controls.live()

    def _png(self) -> bytes:
        stream = io.BytesIO()
        plots.curves(self.learn.history.table()).savefig(stream, format="png")
        return stream.getvalue()

    def _show(self, png: bytes) -> None:
        from IPython.core.getipython import get_ipython
        from IPython.display import Image, display

        cell = getattr(get_ipython(), "execution_count", None)
        if self.handle is None or self.cell != cell:  # another cell has a figure of its own
            self.handle, self.cell = display(Image(png), display_id=True), cell
        else:
            self.handle.update(Image(png))
