"""Exact resume: a training that was killed at any step goes on to the same weights, bit for bit.

All randomness of a step (order of the pictures, augmentation, dropout) follows from the seed and the step's
number (see `fastrec.train.loaders.CacheLoader`), so a checkpoint holds no random states: weights,
optimizer, figures so far and the place in the schedule are enough.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from types import FrameType
from typing import Any

import numpy as np
import torch
from fastai.callback.core import Callback, CancelEpochException
from fastai.callback.schedule import LRFinder
from fastai.learner import Learner
from fastcore.foundation import L

from fastrec.files import FastrecError
from fastrec.train.checkpoints import Checkpoints

_OUT_OF_MEMORY = ("out of memory", "can't allocate memory", "not enough memory")
_COUNTERS = ("best", "wait", "count")  # what fastai's trackers and gradient accumulation remember


@dataclass(frozen=True)
class Place:
    """Where a training stands: fits are numbered, since fine-tuning has several."""

    fit: int = 0
    epoch: int = 0
    step: int = 0  # of the epoch


class ExactLearner(Learner):
    """fastai's Learner, whose loop can be entered at any step of any fit."""

    place = Place()  # where the loop is entered
    fits = 0  # how many fits were begun
    checkpointing: Checkpointing | None = None
    _listening: tuple[tuple[Callback, ...], dict[str, list[Callback]]] = ((), {})

    def __call__(self, events: str | list[str]) -> None:
        """Call the callbacks that know an event, in their order: fastai sorts and asks all of them, at each step."""
        callbacks = tuple(self.cbs.items)
        if self._listening[0] != callbacks:
            self._listening = (callbacks, {})
        for event in [events] if isinstance(events, str) else events:
            if event not in self._listening[1]:
                found = self.cbs.sorted("order")
                self._listening[1][event] = [one for one in found if event == "after_fit" or hasattr(one, event)]
            for callback in self._listening[1][event]:
                callback(event)

    def keep(self, checkpoints: Checkpoints, every: int = 100) -> None:
        """Save checkpoints from now on, and go on from the latest at the next fit."""
        self.checkpointing = Checkpointing(checkpoints, every)
        self.add_cb(self.checkpointing)

    def fit(self, *args: Any, **keywords: Any) -> None:
        """Fit as fastai does; one that a checkpoint says was finished is passed over."""
        if any(isinstance(callback, LRFinder) for callback in L(keywords.get("cbs"))):
            super().fit(*args, **keywords)  # it undoes its steps itself
            self.place = Place(self.fits)
            return
        number, self.fits = self.fits, self.fits + 1
        if self.checkpointing is not None:
            self.checkpointing.ask()
        if number < self.place.fit:
            return
        if number > self.place.fit:
            self.place = Place(number)
        with self.checkpointing.heeding_signals() if self.checkpointing else nullcontext():
            self._fit_in_memory(*args, **keywords)

    def _fit_in_memory(self, *args: Any, **keywords: Any) -> None:
        try:
            with torch.autocast("cpu", enabled=False):  # what a step that fails leaves switched on ends here
                super().fit(*args, **keywords)
        except (RuntimeError, MemoryError) as error:
            told = isinstance(error, MemoryError) or any(words in str(error) for words in _OUT_OF_MEMORY)
            size = getattr(self.dls.train, "bs", 2)
            if not told or size < 4:
                raise
            raise FastrecError(
                f"memory ran out with batch_size {size}: take {size // 2}, a smaller network or smaller pictures."
            ) from error

    def _do_fit(self) -> None:
        if self.place.epoch and getattr(getattr(self, "progress", None), "mbar", None):
            self.progress.mbar.update(0)  # the bar's clock starts at nothing else
        for epoch in range(self.place.epoch, self.n_epoch):
            self.epoch = epoch
            self.dls.train.round = (self.place.fit, epoch)
            self._with_events(self._do_epoch, "epoch", CancelEpochException)
            self.place = Place(self.place.fit, epoch + 1)

    def all_batches(self) -> None:
        """Go through the loader's batches; in the epoch that was interrupted, from the step after the last."""
        self.n_iter = len(self.dl)
        self.dl.start = self.place.step if self.training else 0
        for step, batch in enumerate(self.dl, start=self.dl.start):
            self.one_batch(step, batch)


class Checkpointing(Callback):
    """Save every ``every`` steps and at each epoch's end; before the first step, go on from the last save.

    Ctrl-C and SIGTERM let the step end, save, and say how to continue.
    """

    order = 100  # after all that a checkpoint holds

    def __init__(self, checkpoints: Checkpoints, every: int = 100) -> None:
        self.checkpoints, self.every = checkpoints, every
        self.pending: dict[str, Any] | None = None  # the state to go on from, until its step is reached
        self.asked, self.done, self.saved, self.stepped = False, 0, 0, False
        self.signal: int | None = None

    def ask(self) -> None:
        """Look for a checkpoint, once, and tell the Learner where to enter its loop."""
        if self.asked:
            return
        self.asked = True
        self.pending, notes = self.checkpoints.latest()
        for note in notes:
            print(note)
        if self.pending is not None:
            self.learn.place = Place(**self.pending["place"])

    def before_fit(self) -> None:
        """Put weights, optimizer and figures back in the fit that was interrupted."""
        if self.pending is not None and not hasattr(self.learn, "lr_finder"):
            self._restore(self.pending)

    def _restore(self, state: dict[str, Any]) -> None:
        torch.set_num_threads(state["threads"])  # another number would round sums differently
        self.learn.model.load_state_dict(state["model"])
        self.learn.opt.load_state_dict(state["optimizer"])
        self.done = self.saved = state["done"]
        if state["scaler"]:
            self.learn.scaler.load_state_dict(state["scaler"])
        for name, found in state["recorder"].items():
            getattr(self.recorder, name).extend(found)
        for callback in self.learn.cbs:
            vars(callback).update(state["callbacks"].get(callback.name, {}))
        _restore_all([self.recorder.smooth_loss], state["figures"][:1])
        print(f"goes on after step {self.done} from {self.checkpoints.folder.name}")
        for epoch, values in enumerate(self.recorder.values):
            self.learn.logger([epoch, *values, ""])  # the rows of the table that were lost with the kernel

    def before_train(self) -> None:
        """Put the part of the epoch that was done back into the epoch's figures."""
        if self.pending is not None:
            _restore_all(self.recorder._train_mets, self.pending["figures"])
            self.learn.pct_train, self.learn.train_iter = self.pending["pct_train"], self.pending["train_iter"]
            self.pending = None

    def before_batch(self) -> None:
        """Forget whether the batch before stepped."""
        self.stepped = False

    def after_step(self) -> None:
        """Note that the weights moved: while gradients gather there is nothing to save."""
        self.stepped = True

    def after_batch(self) -> None:
        """Save where it is due, and end where a signal asked for it."""
        if hasattr(self.learn, "lr_finder"):
            return
        if not self.training:
            self._end_if_asked()
            return
        self.done += 1
        last = self.iter + 1 == self.n_iter
        if self.stepped and (last or self.done - self.saved >= self.every or self.signal is not None):
            self.checkpoints.save(self.done, self._state())
            self.saved = self.done
            self._end_if_asked()

    def _state(self) -> dict[str, Any]:
        recorder = self.recorder
        return {
            "place": {"fit": self.place.fit, "epoch": self.epoch, "step": self.iter + 1},
            "done": self.done,
            "threads": torch.get_num_threads(),
            "pct_train": float(self.pct_train),
            "train_iter": int(self.train_iter),
            "model": _plain(self.learn.model.state_dict()),
            "optimizer": _plain(self.opt.state_dict()),
            "scaler": scaler.state_dict() if (scaler := getattr(self.learn, "scaler", None)) else {},
            "recorder": {name: _plain(list(getattr(recorder, name))) for name in ("lrs", "iters", "losses", "values")},
            "figures": [_figures(metric) for metric in recorder._train_mets],
            "callbacks": {callback.name: found for callback in self.learn.cbs if (found := _counters(callback))},
        }

    def _end_if_asked(self) -> None:
        if self.signal is not None:
            print(f"stopped and saved after step {self.done}: run the same again to go on from there.")
            raise KeyboardInterrupt if self.signal == signal.SIGINT else SystemExit(128 + self.signal)

    @contextmanager
    def heeding_signals(self) -> Iterator[None]:
        """Let Ctrl-C and SIGTERM wait for the end of the step; a second one acts at once."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

        def arrive(number: int, _frame: FrameType | None) -> None:
            signal.signal(number, before[signal.Signals(number)])
            self.signal = number

        for number in before:
            signal.signal(number, arrive)
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def _counters(callback: Callback) -> dict[str, Any]:
    """Return what a callback has gathered: its own ``state_dict`` or fastai's counters."""
    own = getattr(callback, "resumable", ())
    return {name: _plain(vars(callback)[name]) for name in (*_COUNTERS, *own) if name in vars(callback)}


def _figures(metric: Any) -> dict[str, Any]:
    """Return what a fastai metric has gathered in this epoch."""
    kinds = (torch.Tensor, int, float, list, type(None))
    return {name: _plain(value) for name, value in vars(metric).items() if isinstance(value, kinds)}


def _restore_all(metrics: Any, states: list[dict[str, Any]]) -> None:
    for metric, state in zip(metrics, states, strict=True):
        vars(metric).update(state)


def _plain(value: Any) -> Any:
    """Return a value in types that ``torch.load(weights_only=True)`` takes."""
    if isinstance(value, torch.Tensor):
        return value.detach().as_subclass(torch.Tensor).clone()
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, dict):
        return {name: _plain(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple) or type(value).__name__ == "L":
        return [_plain(inner) for inner in value]
    return value
