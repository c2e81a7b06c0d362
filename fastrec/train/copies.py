"""Copies of loaders and Learners to try things on: whatever is done to them, the originals stay as they are."""

from __future__ import annotations

import copy
import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from fastai.callback.core import Callback
from fastai.callback.progress import ProgressCallback
from fastai.data.core import DataLoaders
from fastai.learner import noop

from fastrec.train.resume import Checkpointing, ExactLearner, Place


def of_loaders(dls: DataLoaders) -> DataLoaders:
    """Copy loaders with all their state; the pictures themselves are shared."""
    return copy.deepcopy(dls, _pictures(dls))


def of_learner(learn: ExactLearner) -> ExactLearner:
    """Copy a Learner with its weights, optimizer, loaders and callbacks.

    The copy neither prints nor writes checkpoints, and callbacks that only watch (``watches``) are left out: what
    they show, send or store is of the original's training alone.
    """
    watching = [callback for callback in learn.cbs if _only_watches(callback)]
    made = copy.deepcopy(learn, _pictures(learn.dls) | {id(callback): None for callback in watching})
    made.cbs = made.cbs.filter(lambda callback: callback is not None)
    for callback in watching:
        delattr(made, callback.name)
    made.checkpointing, made.place, made.fits = None, Place(), 0
    made.logger, made.create_mbar = noop, False
    return made


def _only_watches(callback: Callback) -> bool:
    return isinstance(callback, Checkpointing | ProgressCallback) or getattr(callback, "watches", False)


def _pictures(dls: DataLoaders) -> dict[int, Any]:
    """Return a memory for ``deepcopy`` in which the datasets are copied already."""
    return {id(loader.dataset): loader.dataset for loader in dls.loaders}


@contextmanager
def random_states_kept() -> Iterator[None]:
    """Leave all generators as they were, whatever is drawn meanwhile."""
    before, arrays = random.getstate(), np.random.get_state()  # noqa: NPY002 (the global one is what libraries use)
    devices = range(torch.cuda.device_count()) if torch.cuda.is_initialized() else []
    with torch.random.fork_rng(devices=devices):
        try:
            yield
        finally:
            random.setstate(before)
            np.random.set_state(arrays)  # noqa: NPY002
