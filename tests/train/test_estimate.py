"""What a training will take: told by real steps, of which the Learner and the random generators keep no trace."""

import copy
import random
from dataclasses import replace

import numpy as np
import pytest
import torch
from fastai.callback.core import Callback

from fastrec.train import training
from fastrec.train.estimate import estimate
from fastrec.train.recipe import Recipe

QUICK = Recipe(options={"width": 4, "drop_rate": 0.2}, batch_size=8, augment="medium", flip=True, epochs=2)


class Clock:
    """A clock that goes on only when it is told to."""

    now = 0.0

    def __call__(self):
        return self.now


class Slow(Callback):
    """Let the clock go on by known times; the first steps are the slowest by far."""

    def __init__(self, clock, train, valid):
        self.clock, self.times, self.steps = clock, (valid, train), 0

    def __deepcopy__(self, memo):
        made = Slow(self.clock, *self.times[::-1])
        made.learn = copy.deepcopy(self.learn, memo)
        return made

    def after_batch(self):
        self.steps += 1
        a_batch = self.times[self.training] * len(self.xb[0]) / self.dls[0 if self.training else 1].bs
        self.clock.now += 50 if self.steps <= 2 else a_batch


def everything(learn):
    """Return all that an estimate must not change."""
    optimizer = [] if learn.opt is None else list(learn.opt.state_dict()["state"])
    loaders = [
        {name: value for name, value in vars(loader).items() if isinstance(value, int | tuple | str | np.ndarray)}
        | {"rng": loader.rng.getstate()}
        for loader in learn.dls.loaders
    ]
    return {
        "model": copy.deepcopy(learn.model.state_dict()),
        "optimizer": copy.deepcopy(optimizer),
        "training": [module.training for module in learn.model.modules()],
        "gradients": [parameter.grad for parameter in learn.model.parameters()],
        "asked": [parameter.requires_grad for parameter in learn.model.parameters()],
        "loaders": loaders,
        "learner": {name: str(value) for name, value in vars(learn).items() if name != "lock"},
        "rows": copy.deepcopy(learn.history.rows),
        "losses": list(getattr(learn.recorder, "losses", [])),
        "random": random.getstate(),
        "numpy": np.random.get_state(),  # noqa: NPY002
        "torch": torch.get_rng_state(),
    }


def same(one, other):
    if isinstance(one, torch.Tensor | np.ndarray):
        return type(one) is type(other) and bool((one == other).all())
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    return one == other


@pytest.mark.parametrize("trained", [False, True])
def test_nothing_changes_bit_for_bit(run, trained):
    learn = training.fit(run, QUICK) if trained else training.prepare(run, QUICK)
    before = everything(learn)
    estimate(learn, QUICK)
    after = everything(learn)
    assert [name for name in before if not same(before[name], after[name])] == []


def test_a_training_after_it_ends_with_the_same_weights(run):
    found = []
    for asked in (False, True):
        learn = training.prepare(run, QUICK)
        if asked:
            estimate(learn, QUICK)
        with learn.no_bar(), learn.no_logging():
            learn.fit_one_cycle(2, 0.01)
        found.append(learn.model.state_dict())
    assert same(*found)


def test_it_is_what_the_training_takes_however_slow_the_first_steps_are(run):
    clock = Clock()
    learn = training.prepare(run, QUICK)
    slow = Slow(clock, train=3.0, valid=7.0)
    learn.add_cb(slow)
    told = estimate(learn, QUICK, clock)
    assert told.step == pytest.approx(3.0)
    began, slow.steps = clock.now, 2
    with learn.no_bar(), learn.no_logging():
        learn.fit_one_cycle(QUICK.epochs, 0.01)
    assert told.total == pytest.approx(clock.now - began)
    assert told.total == pytest.approx(QUICK.epochs * (told.train + told.valid))
    assert f"about {clock.now - began:.0f} s for 2 epochs" in told.sentence.lower()


def test_a_checkpoint_is_as_large_as_told(run, tmp_path):
    from fastrec.train.checkpoints import Checkpoints

    learn = training.prepare(run, QUICK)
    told = estimate(learn, QUICK)
    learn.keep(Checkpoints(tmp_path, {}), 3)
    with learn.no_bar(), learn.no_logging():
        learn.fit_one_cycle(1, 0.01)
    size = next(tmp_path.glob("*/*.pt")).stat().st_size
    assert told.checkpoint < size < told.checkpoint + 60_000  # names and figures beside the tensors


def test_where_memory_will_not_suffice_it_names_a_batch_size_and_tries_no_whole_batch(run):
    class Largest(Callback):
        seen = 0

        def before_batch(self):
            Largest.seen = max(Largest.seen, len(self.xb[0]))

    recipe = Recipe(options={"width": 4}, batch_size=32, epochs=2)
    learn = training.prepare(run, recipe)
    learn.add_cb(Largest())
    enough = estimate(learn, recipe)
    assert enough.fitting == 32
    assert Largest.seen >= 32
    Largest.seen = 0
    short = estimate(learn, recipe, free=enough.memory // 3)
    assert Largest.seen <= 4
    assert 2 <= short.fitting < 32
    assert short.sentence.startswith(f"Memory will not suffice for batch_size 32: try {short.fitting};")
    again = estimate(learn, recipe, free=2 * enough.memory)
    assert "not suffice" not in again.sentence


def test_frozen_epochs_count_as_what_they_take(run):
    recipe = Recipe(options={"width": 4}, batch_size=8, epochs=2, frozen_epochs=3)
    clock = Clock()
    learn = training.prepare(run, recipe)
    learn.add_cb(Slow(clock, train=3.0, valid=7.0))
    told = estimate(learn, recipe, clock)
    assert told.epochs == 5
    assert told.total == pytest.approx(5 * (told.train + told.valid))
    assert set(told.table().columns) == {"about"}


@pytest.mark.parametrize(
    "changes",
    [
        {"keep": "best", "patience": 1, "mix": "cutmix", "clip": 1.0},
        {"keep": "average", "accumulate": 2, "balance": "sampling", "loss": "focal", "frozen_epochs": 1},
    ],
)
def test_whatever_a_recipe_asks_for_is_rehearsed(run, changes):
    recipe = replace(QUICK, **changes)
    learn = training.prepare(run, recipe)
    before = everything(learn)
    assert estimate(learn, recipe).total > 0
    after = everything(learn)
    assert [name for name in before if not same(before[name], after[name])] == []


def test_smaller_pictures_count_by_their_area(run):
    recipe = replace(QUICK, epochs=3, start_size=0.5)
    clock = Clock()
    learn = training.prepare(run, recipe)
    learn.add_cb(Slow(clock, train=3.0, valid=7.0))
    told = estimate(learn, recipe, clock)
    assert told.step == pytest.approx(3.0)
    assert told.total == pytest.approx((0.25 + 0.25 + 1) * told.train + 3 * told.valid, rel=0.5)
    assert told.total < 3 * (told.train + told.valid)
