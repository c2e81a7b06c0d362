"""Optimizers by name: they step as they should, and fastai freezes and schedules them by layer group."""

import copy

import pytest
import torch
from fastai.optimizer import Adam
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from fastrec.files import FastrecError
from fastrec.train import optimizers
from fastrec.train.optimizers import LayerGroups


def network():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Linear(4, 8, bias=False), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 3)
    )


def groups(net):
    return [list(net[:2].parameters()), list(net[3].parameters()), list(net[5].parameters())]


def steps(net, optimizer, count=4):
    torch.manual_seed(1)
    for _ in range(count):
        net(torch.randn(6, 4)).square().sum().backward()
        optimizer.step()
        net.zero_grad()


@settings(max_examples=10)
@given(st.floats(0, 0.3), st.floats(1e-4, 0.1), st.floats(1, 20), st.floats(0.5, 0.99))
def test_adamw_is_fastais_adam_without_its_loop(decay, rate, spread, momentum):
    ours, theirs = network(), network()
    fast, slow = optimizers.named("adamw")(groups(ours), lr=rate), Adam(groups(theirs), lr=rate)
    for parameter in theirs.parameters():
        slow.state[parameter]["do_wd"] = parameter.ndim > 1
    for optimizer, net in ((fast, ours), (slow, theirs)):
        optimizer.set_hypers(wd=decay, mom=momentum)
        optimizer.set_hyper("lr", slice(rate / spread, rate))
        steps(net, optimizer)
    for one, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-3)


@pytest.mark.parametrize("name", optimizers.names())
def test_each_moves_all_weights_then_the_head_alone_and_goes_on_from_its_state(name):
    def made():
        net = network()
        optimizer = optimizers.named(name)(groups(net), lr=0.01)
        optimizer.set_hypers(wd=0.01, mom=0.9)
        return net, optimizer

    net, optimizer = made()
    before = [one.detach().clone() for one in net.parameters()]
    steps(net, optimizer)
    moved = [not torch.equal(*pair) for pair in zip(before, net.parameters(), strict=True)]
    assert all(moved) or (name == "larc" and sum(moved) >= 3)  # whose steps are as long as the weights: those of 0 stay
    optimizer.set_hyper("lr", slice(0.001, 0.01))
    steps(net, optimizer, 3)
    again, other = made()
    again.load_state_dict(net.state_dict())
    other.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    optimizer.freeze()
    other.freeze()
    body = [one.detach().clone() for one in net[:5].parameters()]
    for each, learner in ((net, optimizer), (again, other)):
        steps(each, learner)
    assert all(torch.equal(*pair) for pair in zip(net.parameters(), again.parameters(), strict=True))
    assert all(torch.equal(*pair) for pair in zip(body, net[:5].parameters(), strict=True))


def test_only_matrices_decay_and_each_group_has_its_rate():
    net = network()
    optimizer = LayerGroups(groups(net), make=torch.optim.SGD, lr=0.1)
    optimizer.set_hyper("wd", 0.5)
    for rates in ([0.1, 0.1, 0.1], [0.0, 0.1, 0.2]):
        optimizer.set_hyper("lr", rates)
        before = [[one.detach().clone() for one in group] for group in groups(net)]
        for parameter in net.parameters():
            parameter.grad = torch.zeros_like(parameter)
        optimizer.step()
        for rate, olds, news in zip(rates, before, groups(net), strict=True):
            for old, new in zip(olds, news, strict=True):
                torch.testing.assert_close(new.detach(), old * (1 - 0.5 * rate if old.ndim > 1 else 1))


def test_an_unknown_name_lists_the_nearest():
    with pytest.raises(FastrecError, match=r"^optimizer 'adamww' is unknown: did you mean adamw"):
        optimizers.named("adamww")
    with pytest.raises(FastrecError, match="take one of adamw, "):
        optimizers.named("??")


@pytest.mark.parametrize("name", optimizers.names())
def test_layers_may_join_after_some_steps(name):
    first, head = (nn.Linear(3, 3) for _ in range(2))
    opt = optimizers.named(name)([list(first.parameters()), list(head.parameters())], lr=0.01)
    before = first.weight.detach().clone()
    for frozen in (1, 0):
        opt.freeze_to(frozen)
        for _ in range(2):
            opt.zero_grad()
            head(first(torch.ones(2, 3))).square().sum().backward()
            opt.step()
    assert not torch.equal(first.weight, before)
    assert torch.isfinite(first.weight).all()
