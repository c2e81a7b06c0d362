"""Losses: torch's own formulas by value and gradient, class weights that help the rare class, shared targets."""

from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional
from torchvision.ops import sigmoid_focal_loss

from fastrec.files import FastrecError
from fastrec.train import balance, losses
from fastrec.train.losses import OneLabel, SeveralLabels
from fastrec.train.recipe import Recipe

WEIGHTS = torch.tensor([0.5, 2.0, 1.25])


@pytest.fixture
def logits():
    return torch.randn(7, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64).mul(3).requires_grad_()


@pytest.fixture
def shares():
    return torch.rand(7, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64).softmax(1)


NUMBERS = torch.tensor([0, 1, 2, 2, 1, 0, 0])
INDICATORS = functional.one_hot(NUMBERS, 3).double() + functional.one_hot(NUMBERS.roll(1), 3).double()
INDICATORS = INDICATORS.clamp(max=1)


def assert_same(loss, target, logits, expected):
    (ours,) = torch.autograd.grad(found := loss(logits, target), logits)
    (theirs,) = torch.autograd.grad(expected, logits, retain_graph=True)
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_one_label_is_torchs_cross_entropy_of_numbers_and_of_shares(logits, shares, smoothing):
    for target in (NUMBERS, shares):
        expected = functional.cross_entropy(logits, target, label_smoothing=smoothing)
        assert_same(OneLabel(label_smoothing=smoothing), target, logits, expected)


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_class_weights_count_pictures_not_each_other(logits, shares, smoothing):
    weights = WEIGHTS.double()
    for target in (functional.one_hot(NUMBERS, 3).double(), shares):
        expected = functional.cross_entropy(logits, target, weights, label_smoothing=smoothing)
        assert_same(OneLabel(label_smoothing=smoothing, weights=weights), target, logits, expected)
    one = OneLabel(weights=weights)
    torch.testing.assert_close(one(logits, NUMBERS), one(logits, functional.one_hot(NUMBERS, 3)))
    each = functional.cross_entropy(logits, NUMBERS, reduction="none") * weights[NUMBERS]
    assert_same(one, NUMBERS, logits, each.mean())


def test_the_focal_loss_of_one_label_is_its_formula(logits, shares):
    plain = functional.cross_entropy(logits, NUMBERS, reduction="none")
    sure = torch.exp(-plain)
    weights = WEIGHTS.double()
    assert_same(OneLabel(focal=True), NUMBERS, logits, ((1 - sure) ** 2 * plain).mean())
    assert_same(OneLabel(True, 0, weights), NUMBERS, logits, ((1 - sure) ** 2 * plain * weights[NUMBERS]).mean())
    blended = sum(shares[:, k] * OneLabel(focal=True).each(logits, torch.full((7,), k)) for k in range(3))
    assert_same(OneLabel(focal=True), shares, logits, blended.mean())


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
@pytest.mark.parametrize("weights", [None, WEIGHTS.double()])
def test_several_labels_are_torchs_binary_cross_entropy(logits, smoothing, weights):
    target = INDICATORS * (1 - smoothing) + smoothing / 2
    expected = functional.binary_cross_entropy_with_logits(logits, target, pos_weight=weights)
    assert_same(SeveralLabels(False, smoothing, weights), INDICATORS, logits, expected)


def test_the_focal_loss_of_several_labels_is_torchvisions(logits):
    expected = sigmoid_focal_loss(logits, INDICATORS, alpha=-1, gamma=2)
    assert_same(SeveralLabels(focal=True), INDICATORS, logits, expected.mean())
    weighted = torch.where(INDICATORS > 0, expected * WEIGHTS, expected)
    assert_same(SeveralLabels(True, 0, WEIGHTS.double()), INDICATORS, logits, weighted.mean())


@pytest.mark.parametrize("kind", [OneLabel, SeveralLabels])
def test_fastai_finds_what_it_asks_of_a_loss(logits, kind):
    loss, target = kind(), NUMBERS if kind is OneLabel else INDICATORS
    scores = loss.activation(logits)
    assert ((scores > 0) & (scores < 1)).all()
    assert loss.decodes(scores).shape == target.shape
    mean = loss(logits, target)
    loss.reduction = "none"
    assert loss(logits, target).shape == (7,)
    torch.testing.assert_close(loss(logits, target).mean(), mean)


@given(st.lists(st.integers(0, 4), min_size=2, max_size=60))
def test_class_weights_are_inverse_to_frequency_and_one_in_the_mean_of_pictures(numbers):
    targets = torch.tensor(numbers)
    weights = balance.class_weights(targets, 5)
    assert float(weights[targets].double().mean()) == pytest.approx(1, abs=1e-5)
    counts = torch.bincount(targets, minlength=5)
    shares = (weights * counts)[counts > 0]
    torch.testing.assert_close(shares, shares[:1].expand_as(shares))
    assert (weights[counts == 0] == 1).all()


def test_with_several_labels_a_yes_weighs_as_much_as_all_noes():
    targets = torch.tensor([[1.0, 0, 1, 0], [0, 0, 1, 0], [0, 1, 1, 0], [0, 1, 1, 0]])
    assert balance.class_weights(targets, 4).tolist() == [3, 1, 1, 1]  # the last two: always there, never there


def recall(loss, inputs, targets):
    """Return the share of the rare class that a linear model finds after training by a loss."""
    torch.manual_seed(0)
    network = torch.nn.Linear(1, 2)
    optimizer = torch.optim.SGD(network.parameters(), 0.5)
    for _ in range(150):
        optimizer.zero_grad()
        loss(network(inputs), targets).backward()
        optimizer.step()
    return float((network(inputs).argmax(1) == 1)[targets == 1].float().mean())


def test_class_weights_find_the_rare_class():
    torch.manual_seed(0)
    inputs = torch.cat([torch.randn(190, 1), torch.randn(10, 1) + 1.5])
    targets = torch.cat([torch.zeros(190, dtype=torch.long), torch.ones(10, dtype=torch.long)])
    weights = balance.class_weights(targets, 2)
    for focal in (False, True):
        plain, weighted = (
            recall(OneLabel(focal), inputs, targets),
            recall(OneLabel(focal, 0.0, weights), inputs, targets),
        )
        assert plain < 0.3
        assert weighted > 0.6


def loaders_of(targets, several=False):
    vocab = [*"abc"][: targets.shape[1] if several else 2]
    return SimpleNamespace(
        train_ds=SimpleNamespace(targets=targets), vocab=vocab, multi_label=several, device=torch.device("cpu")
    )


def test_a_recipe_chooses_loss_smoothing_and_weights_of_train():
    one, several = loaders_of(torch.tensor([0, 0, 0, 1])), loaders_of(INDICATORS.float(), several=True)
    assert isinstance(losses.choose(Recipe(), one), OneLabel)
    made = losses.choose(Recipe(loss="focal", balance="weights"), several)
    assert isinstance(made, SeveralLabels)
    assert made.focal
    assert losses.choose(Recipe(balance="weights"), one).weights.tolist() == pytest.approx([2 / 3, 2])
    assert losses.choose(Recipe(balance="sampling"), one).weights is None
    assert losses.choose(Recipe(label_smoothing=0.1), several).label_smoothing == 0.1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"loss": "hinge"}, r"loss is 'hinge': take one of cross_entropy, focal\.$"),
        ({"label_smoothing": 1.0}, r"label_smoothing is 1\.0: take a share"),
        ({"loss": "focal", "label_smoothing": 0.1}, r"take loss cross_entropy, or label_smoothing 0\.$"),
    ],
)
def test_what_makes_no_sense_is_refused(change, message):
    with pytest.raises(FastrecError, match=message):
        losses.choose(replace(Recipe(), **change), loaders_of(torch.tensor([0, 1])))
