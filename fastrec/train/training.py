"""A recipe becomes a trained Learner."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from fastai.callback.core import Callback

from fastrec.run import Run
from fastrec.train import learner, loaders
from fastrec.train.recipe import Recipe
from fastrec.train.resume import ExactLearner


def prepare(run: Run, recipe: Recipe, held_out: np.ndarray | None = None) -> ExactLearner:
    """Make the loaders and the Learner that a recipe asks for; ``held_out`` as in `loaders.load`."""
    dls = loaders.load(run, recipe.batch_size, recipe.augment, recipe.flip, recipe.seed, held_out, recipe.erase)
    return learner.create(dls, recipe)


def fit(
    run: Run, recipe: Recipe, callbacks: Sequence[Callback] = (), held_out: np.ndarray | None = None
) -> ExactLearner:
    """Train by a recipe, one-cycle (Smith and Topin 2017, https://arxiv.org/abs/1708.07120), without printing."""
    learn = prepare(run, recipe, held_out)
    with learn.no_bar(), learn.no_logging():
        learn.fit_one_cycle(recipe.epochs, recipe.learning_rate, cbs=list(callbacks))
    return learn
