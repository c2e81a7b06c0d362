"""All phases of a recipe: the head alone, then the whole network, at rates that rise and fall over the steps."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from fastai.callback.core import Callback
from fastai.callback.schedule import ParamScheduler, SchedCos, combine_scheds
from fastai.learner import Learner

from fastrec.train.recipe import Recipe


def train(learn: Learner, recipe: Recipe, callbacks: Sequence[Callback] = ()) -> None:
    """Train as the recipe says: ``frozen_epochs`` with only the head, then ``epochs``, each phase by its schedule.

    In the second phase the first layer group learns ``rate_spread`` times slower than the head, those between
    geometrically so; with ``unfreeze`` gradual it begins with few layer groups, see `GradualUnfreezing`.

    Parameters
    ----------
    learn
        From `fastrec.train.learner.create`.
    recipe
        Its epochs, rates, schedule and phases.
    callbacks
        For these phases only.
    """
    fit = SCHEDULES[recipe.schedule]
    if recipe.frozen_epochs:
        learn.freeze()
        fit(learn, recipe.frozen_epochs, recipe.learning_rate, cbs=list(callbacks))
        learn.unfreeze()
    gradual = [GradualUnfreezing(1 + bool(recipe.frozen_epochs))] if recipe.unfreeze == "gradual" else []
    fit(learn, recipe.epochs, _rates(recipe), cbs=[*gradual, *callbacks])


def _rates(recipe: Recipe) -> float | slice:
    """Return the rate, or the two between which fastai spaces those of the layer groups (Howard and Ruder 2018)."""
    highest = recipe.learning_rate
    return slice(highest / recipe.rate_spread, highest) if recipe.rate_spread > 1 else highest


class GradualUnfreezing(Callback):
    """Let one more layer group learn, from the head down, at equal parts of the steps.

    Howard and Ruder 2018, https://arxiv.org/abs/1801.06146, section 3.3.

    Parameters
    ----------
    first
        How many groups learn from the first step on.
    """

    run_valid = False

    def __init__(self, first: int = 1) -> None:
        self.first = first

    def before_batch(self) -> None:
        """Open what is due at this step."""
        self._open(self.epoch * self.n_iter + self.iter)

    def after_train(self) -> None:
        """Be where the epoch's last step was, even if it was taken before a kill."""
        self._open((self.epoch + 1) * self.n_iter - 1)

    def _open(self, step: int) -> None:
        groups = len(self.opt.param_lists)
        learning = self.first + step * (groups - self.first + 1) // (self.n_epoch * self.n_iter)
        if self.opt.frozen_idx != groups - learning:
            self.opt.freeze_to(groups - learning)


# ----------------------------------------------------------------------------- the shapes of the rate


def _one_cycle(learn: Learner, epochs: int, rate: float | slice, **keywords: Any) -> None:
    """Up for a quarter of the steps, then down to nothing (Smith and Topin 2017, https://arxiv.org/abs/1708.07120)."""
    learn.fit_one_cycle(epochs, rate, **keywords)


def _flat_cos(learn: Learner, epochs: int, rate: float | slice, **keywords: Any) -> None:
    """Even for three quarters of the steps, then along a cosine to nothing."""
    learn.fit_flat_cos(epochs, rate, **keywords)


def _cosine(learn: Learner, epochs: int, rate: float | slice, **keywords: Any) -> None:
    """Along half a cosine from the rate to nothing."""
    _restarted(learn, [epochs], rate, **keywords)


def _sgdr(learn: Learner, epochs: int, rate: float | slice, **keywords: Any) -> None:
    """Cosines with warm restarts (Loshchilov and Hutter 2017, https://arxiv.org/abs/1608.03983), see :func:`cycles`."""
    _restarted(learn, cycles(epochs), rate, **keywords)


def cycles(epochs: int) -> list[int]:
    """Return the lengths of cosine cycles: 1, 2, 4 … epochs, the last one as long as what is left."""
    found: list[int] = []
    left = epochs
    while left >= 3 * 2 ** len(found):  # so that the last is at least twice as long as the one before
        found.append(2 ** len(found))
        left -= found[-1]
    return [*found, left]


def _restarted(
    learn: Learner, lengths: list[int], rate: float | slice, cbs: Sequence[Callback] = (), **keywords: Any
) -> None:
    """Do what fastai's ``fit_sgdr`` does, whose cycles use up only some numbers of epochs."""
    if learn.opt is None:
        learn.create_opt()
    learn.opt.set_hyper("lr", rate)
    highest = np.array([group["lr"] for group in learn.opt.hypers])
    shares = [length / sum(lengths) for length in lengths[:-1]]
    shape = combine_scheds([*shares, 1 - sum(shares)], [SchedCos(highest, 0.0)] * len(lengths))
    learn.fit(sum(lengths), cbs=[ParamScheduler({"lr": shape}), *cbs], **keywords)


SCHEDULES: dict[str, Callable[..., None]] = {
    "one_cycle": _one_cycle,
    "cosine": _cosine,
    "flat_cos": _flat_cos,
    "sgdr": _sgdr,
}
