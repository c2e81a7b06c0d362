"""Progressive resizing: sizes grow by the epoch's number, train alone is small, and a fixed network is refused."""

from dataclasses import replace

import pytest
import torch
from fastai.callback.core import Callback
from hypothesis import given
from hypothesis import strategies as st
from torch.nn.functional import interpolate

from fastrec.files import FastrecError
from fastrec.train import learner, loaders, resizing, training
from fastrec.train.recipe import Recipe

QUICK = Recipe(options={"width": 4}, batch_size=8, augment="none", start_size=0.5)


@given(st.integers(8, 512), st.floats(0.25, 1), st.integers(1, 60))
def test_sides_grow_from_the_start_to_a_full_last_third(full, start, epochs):
    sides = [resizing.side(full, start, epoch, epochs) for epoch in range(epochs)]
    assert sides == sorted(sides)
    assert sides[-1] == full
    assert sum(side == full for side in sides) >= epochs / 3
    assert all(side % resizing.MULTIPLE == 0 for side in sides if side != full)
    if epochs > 2:
        assert abs(sides[0] - full * start) <= resizing.MULTIPLE


def test_sides_of_nine_epochs_are_those_expected():
    assert [resizing.side(128, 0.5, epoch, 9) for epoch in range(9)] == [64, 72, 88, 96, 104, 120, 128, 128, 128]


def test_training_sees_the_sides_and_validation_the_full_one(run):
    class Watch(Callback):
        def before_fit(self):
            self.seen = {}

        def before_batch(self):
            self.seen.setdefault((self.training, self.epoch), set()).add(self.x.shape[-1])

    watch, learn = Watch(), training.prepare(run, QUICK)
    with learn.no_bar(), learn.no_logging():
        learn.fit(3, 0.01, cbs=watch)
    assert watch.seen == {
        (True, 0): {8}, (True, 1): {16}, (True, 2): {16}, (False, 0): {16}, (False, 1): {16}, (False, 2): {16}
    }  # fmt: skip
    assert learn.dls.train.one_batch()[0].shape[-1] == 16


def test_pictures_are_made_smaller_with_antialiasing(run):
    dls = loaders.load(run, QUICK)
    raw, _ = dls.train_ds.batch([0, 1, 2])
    dls.train.prepare.side = 8
    (small,) = dls.train.after_batch((raw,))
    plain = torch.Tensor(raw.float())
    levels = interpolate(plain, 8, mode="bilinear", antialias=True).div_(255)
    expected = dls.train.prepare.decodes(small)
    assert small.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(torch.Tensor(expected), levels, atol=1.5 / 255, rtol=0)


@pytest.mark.parametrize("architecture", ["rownet", "vit_tiny_patch16_224"])
def test_a_network_of_one_size_is_refused(run, architecture):
    recipe = replace(QUICK, architecture=architecture, options={})
    with pytest.raises(FastrecError, match=r"made for 16 pixels cannot take pictures of 8: take start_size 1, or"):
        learner.create(loaders.load(run, recipe), recipe)


@pytest.mark.parametrize("start", [0.2, 1.5, float("nan")])
def test_a_start_out_of_range_is_refused(run, start):
    with pytest.raises(FastrecError, match=r"start_size is .*: take 0\.25 to 1"):
        resizing.callbacks(Recipe(start_size=start), torch.nn.Identity(), loaders.load(run, QUICK))


def test_a_new_learner_forgets_the_side_of_an_interrupted_one(run):
    dls = loaders.load(run, QUICK)
    dls.train.prepare.side = 8
    learner.create(dls, replace(QUICK, start_size=1.0))
    assert dls.train.one_batch()[0].shape[-1] == 16
