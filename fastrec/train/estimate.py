"""What a training will take, before it begins: time, memory and disk, from a few real steps on a copy."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median
from typing import Any

import pandas as pd
import psutil
import torch
from fastai.callback.core import Callback, CancelFitException, CancelTrainException
from fastai.data.core import DataLoaders
from fastcore.foundation import L

from fastrec.train import copies
from fastrec.train.recipe import Recipe
from fastrec.train.resizing import side
from fastrec.train.resume import ExactLearner

WARM = 2  # first steps that do not count: libraries choose their kernels, memory is asked for the first time
STEPS = (3, 25)  # fewest and most steps that count
SECONDS = {True: 1.2, False: 0.3}  # to spend on training and on validation, where that gives the fewest steps
FEW = 4  # pictures of the first step, which tells whether a whole batch would fit
SAFE = 0.9  # share of the free memory that is taken for granted


@dataclass(frozen=True)
class Estimate:
    """What one training takes; times in seconds, sizes in bytes."""

    step: float
    train: float  # an epoch's training
    valid: float  # an epoch's validation
    epochs: int  # frozen ones among them
    total: float
    memory: int  # beyond what is in use already
    free: int
    checkpoint: int  # on disk, of which two are kept
    batch_size: int
    fitting: int  # the largest batch size known to fit: that of the recipe, if its batches do

    @property
    def sentence(self) -> str:
        """All of it in words, and which batch size to try where memory will not suffice."""
        said = (
            f"about {_duration(self.total)} for {self.epochs} epochs of {_duration(self.train + self.valid)} "
            f"({_duration(self.step)} a step, {_duration(self.valid)} to validate), {_size(self.memory)} of memory "
            f"beside what is in use ({_size(self.free)} are free) and {_size(self.checkpoint)} a checkpoint"
        )
        if self.fitting < self.batch_size:
            return f"Memory will not suffice for batch_size {self.batch_size}: try {self.fitting}; {said}."
        return f"{said[0].upper()}{said[1:]}."

    def table(self) -> pd.DataFrame:
        """Return one row for each figure, in words."""
        rows = {
            "one step": _duration(self.step),
            "an epoch, training": _duration(self.train),
            "an epoch, validation": _duration(self.valid),
            f"all {self.epochs} epochs": _duration(self.total),
            "memory beside what is in use": _size(self.memory),
            "memory that is free": _size(self.free),
            "a checkpoint on disk": _size(self.checkpoint),
        }
        return pd.DataFrame({"about": rows})

    def __str__(self) -> str:
        return self.sentence


def estimate(
    learn: ExactLearner, recipe: Recipe, clock: Callable[[], float] = time.perf_counter, free: int | None = None
) -> Estimate:
    """Take a few real steps with a copy, and say what the whole training will take.

    The Learner, its loaders and all random states stay as they are, bit for bit.  The first step is of few
    pictures: where a whole batch would clearly not fit into memory, none is tried.

    Parameters
    ----------
    learn
        As `fastrec.train.learner.create` makes it for the recipe.
    recipe
        Its epochs are counted.
    clock, free
        Of this process, and the bytes of memory that are free: of the GPU where one is used.
    """
    free = _free(learn.dls.device) if free is None else free
    with copies.random_states_kept():
        steps = _rehearsed(learn, clock, free)
        head = _rehearsed(learn, clock, free, freeze=True) if recipe.frozen_epochs else steps
    step, train, valid = steps.figures(learn.dls)
    frozen = _passes(head.figures(learn.dls), recipe, learn.dls.size, recipe.frozen_epochs)
    return Estimate(
        step=step,
        train=train,
        valid=valid,
        epochs=recipe.frozen_epochs + recipe.epochs,
        total=frozen + _passes((step, train, valid), recipe, learn.dls.size, recipe.epochs),
        memory=max(steps.few.needed, steps.most - steps.in_use),
        free=free,
        checkpoint=steps.checkpoint,
        batch_size=learn.dls.train.bs,
        fitting=steps.few.fitting,
    )


def _passes(figures: tuple[float, float, float], recipe: Recipe, size: int, epochs: int) -> float:
    """Return the seconds of all epochs of a fit: smaller pictures take less, by their area."""
    areas = ((side(size, recipe.start_size, epoch, epochs) / size) ** 2 for epoch in range(epochs))
    return figures[1] * sum(areas) + epochs * figures[2]


def _rehearsed(learn: ExactLearner, clock: Callable[[], float], free: int, freeze: bool = False) -> _Clock:
    """Take the steps with a copy: at a rate of nothing, so that they cannot go astray."""
    tried = copies.of_learner(learn)
    if freeze:
        tried.freeze()
    few = _FewFirst(free)
    steps = _Clock(clock, few, _in_use(tried.dls.device, peak=False))
    try:
        while not steps.enough(True) or not steps.enough(False):
            tried.fit(1, 0.0, cbs=[few, steps])  # a single epoch is one of full size, see fastrec.train.resizing
    finally:
        few.end()
    steps.checkpoint = _bytes([tried.model.state_dict(), tried.opt.state_dict()])
    return steps


class _FewFirst(Callback):
    """Before each batch, cut it short while it is not known to fit; learn from the first what a picture takes."""

    order = -100  # before all that looks at the batch

    def __init__(self, free: int) -> None:
        self.free, self.fitting, self.needed = free, 0, 0
        self.kept: dict[int, int] = {}
        self.noting: Any = None

    def before_batch(self) -> None:
        """Cut the batch; from the first one on to its loss, keep account of what its gradients will need."""
        if self.fitting < self.dls.train.bs:
            self.learn.xb, self.learn.yb = (tuple(part[:FEW] for part in parts) for parts in (self.xb, self.yb))
        if not self.fitting:
            self.noting = torch.autograd.graph.saved_tensors_hooks(self._keep, lambda tensor: tensor)
            self.noting.__enter__()

    def _keep(self, tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        self.kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    def after_loss(self) -> None:
        """Conclude how many pictures fit."""
        if self.noting is None:
            return
        self.end()
        own = {tensor.untyped_storage().data_ptr() for tensor in self.learn.model.state_dict().values()}
        a_picture = max(1, sum(size for place, size in self.kept.items() if place not in own) // len(self.xb[0]))
        fixed = 3 * _bytes(list(self.learn.model.parameters()))  # gradients and Adam's two means
        size = self.dls.train.bs
        self.needed = fixed + size * a_picture
        most = max(2, int((SAFE * self.free - fixed) / a_picture))
        self.fitting = size if most >= size else 1 << (most.bit_length() - 1)  # a power of two

    def end(self) -> None:
        """Keep account no longer."""
        if self.noting is not None:
            self.noting.__exit__(None, None, None)
        self.noting = None


class _Clock(Callback):
    """After each batch, note its time and the memory in use; end when there is enough of both kinds."""

    order = 1000  # after all that belongs to a step
    checkpoint = 0

    def __init__(self, clock: Callable[[], float], few: _FewFirst, in_use: int) -> None:
        self.clock, self.few, self.in_use, self.most = clock, few, in_use, in_use
        self.spent: dict[bool, list[float]] = {True: [], False: []}  # by whether it trains
        self.a_picture: dict[bool, list[float]] = {True: [], False: []}

    def before_train(self) -> None:
        """Start the clock, which goes on from one step to the next: reading a batch belongs to its step."""
        self.last = self._now()

    before_validate = before_train

    def _now(self) -> float:
        if self.dls.device.type == "cuda":
            torch.cuda.synchronize()
        return self.clock()

    def after_loss(self) -> None:
        """Look how much memory is in use where it is most."""
        self.most = max(self.most, _in_use(self.dls.device))

    def after_batch(self) -> None:
        """Note the step."""
        now, trains = self._now(), bool(self.training)
        self.spent[trains].append(now - self.last)
        self.a_picture[trains].append((now - self.last) / len(self.xb[0]))
        self.last = now
        if self.enough(trains):
            raise CancelTrainException if trains else CancelFitException

    def after_validate(self) -> None:
        """End before the epoch does: figures of a part of it are none that other callbacks expect."""
        raise CancelFitException

    def enough(self, trains: bool) -> bool:
        """Say whether no more steps of a kind are needed."""
        found = self.spent[trains][WARM:]
        return len(found) >= STEPS[1] or (len(found) >= STEPS[0] and sum(found) >= SECONDS[trains])

    def figures(self, dls: DataLoaders) -> tuple[float, float, float]:
        """Return the seconds of a step, of an epoch's training and of its validation; the median is not misled."""
        train, valid = (median(self.a_picture[kind][WARM:] or self.a_picture[kind] or [0.0]) for kind in (True, False))
        step = train * dls.train.bs
        return step, step * len(dls.train), valid * len(dls.valid_ds)


def _free(device: torch.device) -> int:
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    return int(psutil.virtual_memory().available)


def _in_use(device: torch.device, peak: bool = True) -> int:
    """Return the bytes in use now; on a GPU the most since this was asked with ``peak=False``."""
    if device.type != "cuda":
        return int(psutil.Process().memory_info().rss)
    if not peak:
        torch.cuda.reset_peak_memory_stats(device)
    return int(torch.cuda.max_memory_allocated(device))


def _bytes(value: Any) -> int:
    """Return how many bytes all tensors inside lists and dictionaries take."""
    if isinstance(value, torch.Tensor):
        return value.nbytes
    if isinstance(value, dict):
        value = list(value.values())
    return sum(map(_bytes, value)) if isinstance(value, list | tuple | L) else 0


def _duration(seconds: float) -> str:
    if seconds < 1:
        return f"{1000 * seconds:.3g} ms"
    if seconds < 100:
        return f"{seconds:.2g} s" if seconds < 10 else f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 100 else f"{seconds / 3600:.1f} h"


def _size(count: int) -> str:
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.3g} MB"
