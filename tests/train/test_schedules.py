"""Schedules: the rates they give, the layers that learn, and that all of the epochs are used."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
from fastai.callback.core import Callback
from hypothesis import given
from hypothesis import strategies as st

from fastrec.files import FastrecError
from fastrec.train import schedules, training
from fastrec.train.recipe import CHOICES, Recipe

QUICK = Recipe(options={"width": 4}, batch_size=8, epochs=3, learning_rate=0.02)


class Watch(Callback):
    """Note the rates and the number of frozen layer groups at each step."""

    run_valid = False
    order = 90

    def __init__(self):
        self.rates, self.frozen = [], []

    def after_batch(self):
        self.rates.append([group["lr"] for group in self.opt.hypers])
        self.frozen.append(
            [not any(one.requires_grad for one in group if one.ndim > 1) for group in self.opt.param_lists]
        )


def watched(run, **changes):
    watch = Watch()
    learn = training.fit(run, replace(QUICK, **changes), [watch])
    return learn, np.array(watch.rates), np.array(watch.frozen)


@given(st.integers(1, 300))
def test_cycles_use_the_epochs_exactly_and_at_least_double(epochs):
    found = schedules.cycles(epochs)
    assert sum(found) == epochs
    assert all(later >= 2 * earlier for earlier, later in itertools.pairwise(found))
    assert len(found) > 1 or epochs < 3


@pytest.mark.parametrize("name", schedules.SCHEDULES)
def test_each_ends_near_nothing_after_all_steps(run, name):
    learn, rates, _ = watched(run, schedule=name)
    assert len(rates) == 3 * len(learn.dls.train)
    assert rates.max() == pytest.approx(0.02, rel=0.2)
    assert rates[-1].max() < 0.3 * rates.max()
    assert len(learn.history.rows) == 3


def test_sgdr_starts_anew_at_the_second_epoch(run):
    learn, rates, _ = watched(run, schedule="sgdr")
    steps = len(learn.dls.train)
    assert rates[0, 0] == rates[steps, 0] == 0.02
    assert rates[steps - 1, 0] < 0.005


def test_the_first_layers_learn_more_slowly_in_even_ratios(run):
    _, rates, _ = watched(run, rate_spread=8.0)
    assert rates[5, -1] / rates[5, 0] == pytest.approx(8)
    ratios = rates[5, 1:] / rates[5, :-1]
    assert ratios == pytest.approx(ratios[0])


def test_frozen_epochs_train_the_head_alone_then_all(run):
    learn, _, frozen = watched(run, frozen_epochs=2, epochs=1)
    steps = len(learn.dls.train)
    assert frozen[: 2 * steps, :-1].all()
    assert not frozen[: 2 * steps, -1].any()
    assert not frozen[2 * steps :].any()
    assert len(learn.history.rows) == 1 or len(learn.history.rows) == 3


@pytest.mark.parametrize("frozen_epochs", [0, 1])
def test_layers_thaw_one_by_one_from_the_head_down_at_equal_parts(run, frozen_epochs):
    learn, _, frozen = watched(run, unfreeze="gradual", frozen_epochs=frozen_epochs, epochs=4)
    frozen = frozen[frozen_epochs * len(learn.dls.train) :]
    counts = frozen.sum(1)
    groups = frozen.shape[1]
    assert (frozen == (np.arange(groups) < counts[:, None])).all()
    expected = groups - 1 - frozen_epochs
    assert sorted(set(counts.tolist()), reverse=True) == list(range(expected, -1, -1))
    _, lengths = np.unique(counts, return_counts=True)
    assert lengths.max() - lengths.min() <= 1


@pytest.mark.parametrize("name", CHOICES)
def test_a_choice_that_is_none_is_named_with_what_it_may_be(name):
    with pytest.raises(FastrecError, match=rf"^{name} is 'other': take one of {CHOICES[name][0]}, "):
        Recipe(**{name: "other"})


@pytest.mark.parametrize(("name", "value"), [("epochs", 0), ("rate_spread", 0.5), ("clip", -1.0), ("accumulate", 0)])
def test_a_number_too_low_is_named(name, value):
    with pytest.raises(FastrecError, match=rf"^{name} is {value}: take at least"):
        Recipe(**{name: value})


def test_the_schedules_are_those_a_recipe_knows():
    assert set(CHOICES["schedule"]) == set(schedules.SCHEDULES)
