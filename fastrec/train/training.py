"""A recipe becomes a trained Learner."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from fastai.callback.core import Callback

from fastrec.run import Run
from fastrec.train import learner, loaders, schedules
from fastrec.train.recipe import Recipe
from fastrec.train.resume import ExactLearner


def prepare(run: Run, recipe: Recipe, held_out: np.ndarray | None = None) -> ExactLearner:
    """Make the loaders and the Learner that a recipe asks for; ``held_out`` as in `loaders.load`."""
    return learner.create(loaders.load(run, recipe, held_out), recipe)


def fit(
    run: Run, recipe: Recipe, callbacks: Sequence[Callback] = (), held_out: np.ndarray | None = None
) -> ExactLearner:
    """Train by a recipe, all its phases, without printing."""
    learn = prepare(run, recipe, held_out)
    with learn.no_bar(), learn.no_logging():
        schedules.train(learn, recipe, callbacks)
    return learn
