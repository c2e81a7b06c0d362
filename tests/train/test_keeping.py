"""Which weights a training ends with, and when it ends: the best epoch, patience, several batches for a step."""

from dataclasses import replace

import pytest
import torch
from fastai.callback.core import Callback

from fastrec.train import hardware, schedules, training
from fastrec.train.keeping import LowestLoss
from fastrec.train.recipe import Recipe

QUICK = Recipe(options={"width": 4}, batch_size=8, epochs=4, learning_rate=0.05)


def fit(run, *callbacks, **changes):
    return training.fit(run, replace(QUICK, **changes), callbacks)


class Given(Callback):
    """Put other valid losses in the place of those found, since the tests must know which epoch is best."""

    order = 55  # after the Recorder, before who reads it

    def __init__(self, *losses):
        self.losses = list(losses)
        self.epochs = []

    def after_epoch(self):
        place = self.recorder.metric_names[1:].index("valid_loss")
        self.recorder.values[-1][place] = self.losses[len(self.epochs)]
        self.epochs.append({name: value.clone() for name, value in self.learn.model.state_dict().items()})


def assert_weights(learn, expected):
    found = learn.model.state_dict()
    assert all(torch.equal(value, found[name]) for name, value in expected.items())


@pytest.mark.parametrize("frozen", [0, 2])
def test_best_ends_with_the_epoch_of_the_lowest_valid_loss_whatever_the_phase(run, frozen):
    losses = Given(3.0, 1.0, 2.0, 1.0)
    learn = fit(run, losses, keep="best", frozen_epochs=frozen, epochs=4 - frozen)
    assert_weights(learn, losses.epochs[1])
    with learn.no_bar(), learn.no_logging():
        learn.validate()
    assert_weights(learn, losses.epochs[1])


def test_a_loss_that_is_never_finite_keeps_the_last_weights(run):
    losses = Given(*[float("nan")] * 4)
    assert_weights(fit(run, losses, keep="best"), losses.epochs[-1])


def test_patience_ends_training_and_is_told(run, capsys):
    losses = Given(3.0, 1.0, 2.0, 1.5, 0.1, 0.1)
    learn = fit(run, losses, patience=2, epochs=6)
    assert len(losses.epochs) == 4
    assert len(learn.history.rows) == 4
    assert "has not fallen for 2 epochs" in capsys.readouterr().out
    assert_weights(learn, losses.epochs[-1])


def test_epochs_with_frozen_layers_do_not_try_patience(run):
    losses = Given(1.0, 2.0, 3.0, 0.5, 2.0, 2.0)
    fit(run, losses, patience=1, frozen_epochs=3, epochs=3)
    assert len(losses.epochs) == 5


def test_a_bare_validation_and_the_finder_are_no_epochs(run):
    from fastrec.train import learner

    learn = training.prepare(run, replace(QUICK, keep="best"))
    with learn.no_bar(), learn.no_logging():
        learn.validate()
        learner.suggest_rate(learn)
    assert learn.lowest_loss.lowest == float("inf")
    assert isinstance(learn.lowest_loss, LowestLoss)


class Gradients(Callback):
    """Note the gradient of the head at each step."""

    order = 90

    def __init__(self):
        self.steps = []

    def before_step(self):
        self.steps.append((self.iter, self.learn.model.head.weight.grad.clone()))


@pytest.mark.parametrize(("accumulate", "ends"), [(2, [1, 3]), (3, [2, 3]), (9, [3])])
def test_a_step_follows_the_mean_of_all_its_batches_and_none_is_lost_at_the_epochs_end(run, accumulate, ends):
    alone, joined = Gradients(), Gradients()
    frozen = {"learning_rate": 0.0, "epochs": 1, "weight_decay": 0.0}  # the weights stay, so that gradients compare
    fit(run, alone, **frozen)
    fit(run, joined, **frozen, accumulate=accumulate)
    assert [step for step, _ in alone.steps] == [0, 1, 2, 3]
    assert [step for step, _ in joined.steps] == ends
    begins = [0, *(end + 1 for end in ends)]
    for (end, found), begin in zip(joined.steps, begins, strict=False):
        mean = torch.stack([gradient for _, gradient in alone.steps[begin : end + 1]]).mean(0)
        torch.testing.assert_close(found, mean, atol=1e-6, rtol=1e-4)


def test_clip_shortens_gradients_that_are_too_long_and_no_others(run):
    class Norms(Callback):
        order = 90

        def __init__(self):
            self.found = []

        def before_step(self):
            grads = [one.grad for one in self.learn.model.parameters()]
            self.found.append(torch.nn.utils.get_total_norm(grads).item())

    free, short, wide = Norms(), Norms(), Norms()
    for norms, clip in ((free, 0.0), (short, 0.01), (wide, 1e6)):
        fit(run, norms, clip=clip, epochs=1, learning_rate=0.0)
    assert short.found == pytest.approx([0.01] * 4, rel=1e-3)
    assert wide.found == pytest.approx(free.found)


def test_mixed_precision_where_nothing_can_do_it_is_told_and_left_out(monkeypatch, capsys):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_f": True})
    assert hardware.mixed(torch.device("cpu")) == []
    assert "computes in float32" in capsys.readouterr().out


def test_a_processor_that_knows_bfloat16_computes_in_it_and_keeps_weights_and_loss_in_float32(run, monkeypatch):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": True})

    class Formats(Callback):
        def __init__(self):
            self.found = set()

        def before_train(self):
            self.learn.model.register_forward_hook(lambda _, __, out: self.found.add(("forward", out.dtype)))

        def after_loss(self):
            self.found.add(("prediction", self.pred.dtype))
            self.found.add(("loss", self.loss.dtype))
            assert not torch.is_autocast_enabled("cpu")

    formats = Formats()
    mixed, plain = fit(run, formats, epochs=1, precision="mixed"), fit(run, epochs=1)
    assert formats.found == {
        ("forward", torch.bfloat16),
        ("prediction", torch.float32),
        ("loss", torch.float32),
    }
    assert {weight.dtype for weight in mixed.model.parameters()} == {torch.float32}
    losses = [torch.stack(list(learn.recorder.losses)) for learn in (mixed, plain)]
    torch.testing.assert_close(*losses, rtol=0.1, atol=0.1)
    assert not torch.equal(*losses)


def test_a_forward_pass_that_fails_leaves_no_mixed_precision_behind(run, monkeypatch):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": True})
    learn = training.prepare(run, replace(QUICK, precision="mixed"))
    learn.model.register_forward_pre_hook(lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError), learn.no_bar(), learn.no_logging():
        learn.fit(1)
    assert not torch.is_autocast_enabled("cpu")


def test_a_compiled_network_learns_the_same_under_the_same_names(run, monkeypatch):
    compiled = torch.nn.Module.compile
    monkeypatch.setattr(torch.nn.Module, "compile", lambda self, **how: compiled(self, backend="eager", **how))
    plain, fast = fit(run, epochs=1), fit(run, epochs=1, compiled=True)
    assert fast.model._compiled_call_impl is not None
    assert_weights(fast, plain.model.state_dict())


def test_without_a_compiler_the_network_stays_as_it_is_and_it_is_told(monkeypatch, capsys):
    monkeypatch.setattr(hardware.shutil, "which", lambda name: None)
    network = torch.nn.Linear(2, 2)
    hardware.compile_network(network, torch.device("cpu"))
    assert network._compiled_call_impl is None
    assert "needs a C++ compiler" in capsys.readouterr().out


def test_the_schedule_of_a_prepared_learner_is_that_of_fit(run):
    recipe = replace(QUICK, epochs=1)
    learn = training.prepare(run, recipe)
    with learn.no_bar(), learn.no_logging():
        schedules.train(learn, recipe)
    assert_weights(fit(run, epochs=1), learn.model.state_dict())
