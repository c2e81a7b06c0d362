"""One training as a value: what a search varies, and what repeats it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from fastai.callback.core import Callback
from fastai.callback.schedule import Learner  # the module that gives Learner its fit_one_cycle

from fastrec.run import Run
from fastrec.train import learner, loaders


@dataclass(frozen=True)
class Recipe:
    """All that a training depends on beside the data; the names are those of the notebook's parameters."""

    architecture: str = "fastnet"
    options: dict[str, Any] = field(default_factory=dict)
    epochs: int = 20
    learning_rate: float = 0.01
    batch_size: int = 64
    augment: str = "light"
    flip: bool = False
    erase: float = 0.0
    weight_decay: float = 0.01
    label_smoothing: float = 0.0
    seed: int = 0


def prepare(run: Run, recipe: Recipe, held_out: np.ndarray | None = None) -> Learner:
    """Make the loaders and the Learner that a recipe asks for; ``held_out`` as in `loaders.load`."""
    dls = loaders.load(run, recipe.batch_size, recipe.augment, recipe.flip, recipe.seed, held_out, recipe.erase)
    return learner.create(
        dls, recipe.architecture, recipe.options, recipe.weight_decay, recipe.label_smoothing, recipe.seed
    )


def fit(run: Run, recipe: Recipe, callbacks: Sequence[Callback] = (), held_out: np.ndarray | None = None) -> Learner:
    """Train by a recipe, one-cycle (Smith and Topin 2017, https://arxiv.org/abs/1708.07120), without printing."""
    learn = prepare(run, recipe, held_out)
    with learn.no_bar(), learn.no_logging():
        learn.fit_one_cycle(recipe.epochs, recipe.learning_rate, cbs=list(callbacks))
    return learn
