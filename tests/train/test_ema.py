"""The running mean of the weights: it is what is judged and kept, and it outlives a kill."""

from contextlib import suppress

import pytest
import torch
from fastai.callback.core import Callback

from fastrec.train import training
from fastrec.train.checkpoints import Checkpoints
from fastrec.train.ema import Average
from fastrec.train.recipe import Recipe

QUICK = Recipe(options={"width": 4}, batch_size=8)


class Stop(Callback):
    """Interrupt after so many steps."""

    def __init__(self, step):
        self.step = step

    def after_batch(self):
        if self.training and self.learn.train_iter == self.step:
            raise KeyboardInterrupt


def train(run, folder, *callbacks, decay=0.9):
    learn = training.prepare(run, QUICK)
    learn.keep(Checkpoints(folder, {}), 3)
    learn.add_cbs([Average(decay), *callbacks])
    with learn.no_bar(), learn.no_logging(), suppress(KeyboardInterrupt):
        learn.fit_one_cycle(3, 0.02)
    return learn


def weights(learn):
    return {name: value.clone() for name, value in learn.model.state_dict().items()}


def test_with_no_memory_it_is_the_last_step(run, tmp_path):
    plain = training.prepare(run, QUICK)
    with plain.no_bar(), plain.no_logging():
        plain.fit_one_cycle(3, 0.02)
    averaged = weights(train(run, tmp_path, decay=0.0))
    assert all(torch.allclose(value, averaged[name]) for name, value in weights(plain).items())


def test_the_mean_is_kept_and_is_what_was_judged(run, tmp_path):
    learn = train(run, tmp_path)
    judged = learn.history.rows[-1]["valid_loss"]
    with learn.no_bar(), learn.no_logging():
        assert float(learn.validate()[0]) == pytest.approx(judged, rel=1e-5)


@pytest.mark.parametrize("step", [2, 4, 7])
def test_it_outlives_a_kill(run, tmp_path, step):
    unkilled = weights(train(run, tmp_path / "unkilled"))
    train(run, tmp_path / "killed", Stop(step))
    resumed = weights(train(run, tmp_path / "killed"))
    assert all(torch.equal(value, resumed[name]) for name, value in unkilled.items())
