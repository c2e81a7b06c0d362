"""mixup and CutMix: what is blended, what the loss and the figures see, and that a killed training ends the same."""

import random
from contextlib import suppress
from dataclasses import replace

import pytest
import torch
import toy_multi
from fastai.callback.core import Callback
from fastai.callback.schedule import Learner  # noqa: F401 (gives Learner its schedules)

from fastrec.files import FastrecError
from fastrec.train import mix, training
from fastrec.train.checkpoints import Checkpoints
from fastrec.train.recipe import Recipe

QUICK = Recipe(options={"width": 4}, batch_size=8, augment="none", epochs=1)


class Watch(Callback):
    """Keep what the network, the loss and the figures of each training step were given."""

    order, run_valid = 40, False  # after all blending, before the Recorder

    def before_fit(self):
        self.seen = []

    def before_batch(self):
        self.images, self.shares = self.x, self.y

    def after_batch(self):
        self.seen.append((self.images, self.shares, self.y))


def watched(run, way, **more):
    learn, watch = training.prepare(run, replace(QUICK, mix=way, **more)), Watch()
    with learn.no_bar(), learn.no_logging():
        learn.fit(1, 0.01, cbs=watch)
    return learn, watch.seen


@pytest.mark.parametrize("way", ["mixup", "cutmix"])
def test_each_picture_is_blended_with_its_neighbour_and_so_are_the_labels(run, way):
    (_, seen), (_, plain) = watched(run, way), watched(run, "none")
    assert len({float(share) for _, shares, _ in seen for share in shares.flatten()}) >= 4
    for (images, shares, counted), (before, numbers, _) in zip(seen, plain, strict=True):
        assert images.is_contiguous(memory_format=torch.channels_last)
        hot = torch.nn.functional.one_hot(numbers, 2).float()
        given = hot.roll(1, 0)
        mixed = (hot != given).any(1)
        share = float(shares[mixed][0] @ hot[mixed][0]) if mixed.any() else 1.0
        torch.testing.assert_close(shares, hot * share + given * (1 - share))
        assert torch.equal(counted, numbers if share > 0.5 else numbers.roll(1))
        if way == "mixup":
            torch.testing.assert_close(images, before * share + before.roll(1, 0) * (1 - share), atol=1e-5, rtol=0)
        else:
            own = (images == before).all(1)
            assert (own | (images == before.roll(1, 0)).all(1)).all()
            assert float(own.float().mean()) == pytest.approx(share, abs=0.05)


def test_several_labels_are_blended_and_the_larger_share_counts():
    learn = type("Learn", (), {})()
    learn.dls = type("Loaders", (), {"vocab": [*"abc"], "multi_label": True})()
    blend = mix.Mix("mixup")
    blend.learn = learn
    target = torch.tensor([[1.0, 1, 0], [0, 0, 1], [0, 0, 0]])
    for seed in range(5):
        torch.manual_seed(seed)
        learn.x, learn.y = torch.rand(3, 3, 8, 8), target
        blend.before_fit()
        blend.before_batch()
        (shares,) = learn.yb
        share = float(shares[0, 0])
        torch.testing.assert_close(shares, target * share + target.roll(1, 0) * (1 - share))
        blend.after_loss()
        assert torch.equal(learn.yb[0], target if share > 0.5 else target.roll(1, 0))


def test_the_valid_split_and_predictions_are_not_blended(run):
    learn, _ = watched(run, "mixup")
    scores, targets = learn.get_preds(ds_idx=1)
    assert torch.equal(targets, learn.dls.valid_ds.targets)
    torch.testing.assert_close(scores.sum(1), torch.ones(len(scores)))
    again, _ = learn.get_preds(ds_idx=1)
    assert torch.equal(scores, again)


class Killed(BaseException):
    """What a SIGKILL is to the training: nothing more runs."""


class KillAt(Callback):
    """Kill at the n-th training step."""

    def __init__(self, step):
        self.step = step

    def after_backward(self):
        if self.learn.train_iter == self.step:
            raise Killed


CRAFT = {
    "mixup, focal, weights": {"mix": "mixup", "loss": "focal", "balance": "weights"},
    "cutmix, sampling, small": {"mix": "cutmix", "balance": "sampling", "start_size": 0.5, "flip": True},
    "shift, alternating flips": {"augment": "shift", "flip": True, "start_size": 0.5},
}


@pytest.mark.parametrize("craft", CRAFT)
def test_killed_at_random_steps_it_ends_with_the_same_bits(run, tmp_path, craft):
    recipe = replace(QUICK, **({"augment": "light"} | CRAFT[craft]))

    def train(folder, *kill):
        torch.manual_seed(random.randrange(2**31))  # what came before must not matter
        learn = training.prepare(run, recipe)
        learn.keep(Checkpoints(tmp_path / folder, {}), 3)
        with learn.no_bar(), learn.no_logging():
            learn.fit_one_cycle(3, 0.02, cbs=list(kill))
        return learn

    unkilled, draw = train("unkilled"), random.Random(craft)
    for step in (draw.randint(1, 5), draw.randint(6, 11)):
        with suppress(Killed):
            train("killed", KillAt(step))
    found = train("killed")
    for mine, theirs in zip(found.model.state_dict().values(), unkilled.model.state_dict().values(), strict=True):
        assert torch.equal(mine, theirs)
    assert found.recorder.losses == unkilled.recorder.losses
    table, expected = (learn.history.table().drop(columns="seconds") for learn in (found, unkilled))
    assert table.equals(expected)


def test_with_several_labels_all_of_it_learns(home):
    recipe = replace(toy_multi.RECIPE, mix="cutmix", loss="focal", balance="weights", start_size=0.5, epochs=12)
    learn = training.fit(toy_multi.build(), recipe)
    assert learn.history.rows[-1]["valid_accuracy"] > 0.5  # of whole sets; a guess has one in eight
    assert learn.history.rows[-1]["train_accuracy"] > 0.2


def test_an_unknown_way_is_refused():
    with pytest.raises(FastrecError, match=r"mix is 'blur': take one of none, mixup, cutmix\.$"):
        mix.callbacks(Recipe(mix="blur"))
