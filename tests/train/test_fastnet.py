"""``fastnet``: any size and channels, a stem that whitens, a dial, and the same answers after export and restoring."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from fastrec import bundle as bundles
from fastrec.deploy import export
from fastrec.files import FastrecError
from fastrec.train import architectures, learner, loaders, whitening
from fastrec.train.fastnet import FastNet, Whitening
from fastrec.train.recipe import Recipe

RECIPE = Recipe(options={"width": 4}, batch_size=8, epochs=2)


def pictures(n=64, channels=3, side=16, seed=0, noise=0.1):
    """Return soft pictures whose channels go together, as those of photos do."""
    draw = torch.Generator().manual_seed(seed)
    drawn = torch.randn(n, channels, 5, 5, generator=draw)
    soft = torch.nn.functional.interpolate(drawn, side, mode="bicubic")
    return soft + 0.7 * soft.mean(1, keepdim=True) + noise * torch.randn(soft.shape, generator=draw)


def parts(stem, images):
    """Return the half of a stem's answers that are no negatives, (directions, patches)."""
    made = stem(images)[:, : stem.out_channels // 2]
    return made.transpose(0, 1).flatten(1)


@pytest.mark.parametrize(("size", "stride"), [(28, 1), (32, 1), (64, 2), (128, 2), (128, 4), (224, 4)])
def test_it_takes_pictures_of_every_usual_size(size, stride):
    network = FastNet(5, width=4, stem_stride=stride).eval()
    images = torch.zeros(2, 3, size, size)
    assert network.forward_features(images).shape == (2, 16, size // stride // 8, size // stride // 8)
    assert network(images).shape == (2, 5)


@settings(max_examples=10, deadline=None)
@given(st.integers(1, 5), st.sampled_from([1, 2, 4]), st.integers(2, 12))
def test_it_takes_any_number_of_channels(channels, stride, width):
    network = FastNet(3, in_chans=channels, width=width, stem_stride=stride)
    network.whiten(pictures(4, channels, 32))
    assert network(torch.zeros(2, channels, 32, 32)).shape == (2, 3)


@pytest.mark.parametrize(("channels", "stride"), [(3, 1), (1, 1), (4, 2), (3, 4)])
def test_the_stem_whitens_the_pictures_it_was_given(channels, stride):
    stem, images = Whitening(channels, stride), 2 * pictures(64, channels, 32, noise=0.5) + 1
    stem.fit(images)
    found = parts(stem, images)
    torch.testing.assert_close(torch.cov(found), torch.eye(len(found)), atol=0.02, rtol=0)
    torch.testing.assert_close(found.mean(1), torch.zeros(len(found)), atol=1e-3, rtol=0)
    assert stem(images).sum(1).abs().max() < 1e-3  # each direction has its negative


def test_what_hardly_varies_grows_tenfold_at_most():
    stem, images = Whitening(3, 1), pictures(64, noise=0.001)
    stem.fit(images)
    assert 2 < stem.filters.flatten(1).norm(dim=1).max() <= 10


def test_colours_that_no_picture_has_are_not_blown_up():
    stem, grey = Whitening(3, 1), pictures(32, 1).expand(-1, 3, -1, -1)
    stem.fit(grey)
    colourful = grey * torch.tensor([1.0, 0.5, -1.0]).view(1, 3, 1, 1)
    assert parts(stem, colourful).abs().max() <= parts(stem, grey).abs().max()
    assert (stem.filters.flatten(1).norm(dim=1) > 0).sum() == 8  # of 24: both signs of what a grey patch can be


def test_a_stem_that_saw_nothing_loses_nothing():
    filters = Whitening(3, 1).filters.flatten(1)[:12]
    torch.testing.assert_close(filters @ filters.T, torch.eye(12))


def test_the_dial_sizes_it_and_the_stem_is_not_trained():
    counts = [architectures.parameter_count(FastNet(width=width)) for width in (8, 16, 32)]
    assert counts[0] * 2.5 < counts[1] < counts[2] / 2.5
    names = {name for name, _ in FastNet(width=4).named_parameters()}
    assert {name.split(".")[0] for name in names} == {"stages", "head"}
    assert {"stem.filters", "stem.shift"} <= set(FastNet(width=4).state_dict())


def test_it_begins_unsure_and_hands_its_inputs_on():
    network = FastNet(10, width=8).eval()
    network.whiten(pictures())
    assert network(pictures(seed=1)).softmax(1).max() < 0.5
    assert network.forward_features(pictures(seed=1)).abs().mean() > 0.01


def test_a_stride_that_is_none_is_refused():
    with pytest.raises(FastrecError, match="take 1, 2 or 4"):
        architectures.build("fastnet", 2, stem_stride=3)


def test_a_learner_whitens_by_train_pictures_and_the_same_ones_each_time(run):
    dls = loaders.load(run, RECIPE)
    first, again = (learner.create(dls, RECIPE).model for _ in range(2))
    seen = whitening.sample(dls)
    assert len(seen) == len(dls.train_ds)
    assert torch.equal(first.stem.filters, again.stem.filters)
    plain = FastNet(len(dls.vocab), width=4)
    plain.whiten(seen)
    torch.testing.assert_close(first.stem.filters.cpu(), plain.stem.filters)


def test_many_pictures_are_looked_at_by_an_even_choice(run, monkeypatch):
    monkeypatch.setattr(whitening, "LEVELS", 5 * 3 * 16 * 16)
    dls = loaders.load(run, RECIPE)
    assert len(whitening.sample(dls)) == 5
    torch.testing.assert_close(whitening.sample(dls)[0], whitening.sample(dls)[0])


def test_networks_without_such_a_stem_are_left_alone(run):
    whitening.show(torch.nn.Linear(2, 2), loaders.load(run, RECIPE))


@pytest.fixture
def trained_a_little(tmp_path):
    """Return the bundle of a whitened network whose statistics are those of a few batches."""
    torch.manual_seed(0)
    network = FastNet(4, width=8)
    network.whiten(pictures(64, side=32))
    with torch.no_grad():
        for seed in range(4):
            network.train()(pictures(32, side=32, seed=seed))
    bundles.save(
        tmp_path / "bundle",
        network.state_dict(),
        name="small",
        stage="03_train",
        run="tiny",
        architecture="fastnet",
        architecture_options={"width": 8},
        classes=["a", "b", "c", "d"],
        preprocessing={"size": 32, "resize": "squish", "mean": [0.4, 0.5, 0.6], "std": [0.2, 0.25, 0.3]},
        parameters=architectures.parameter_count(network),
        valid={"accuracy": 0.5},
        data_sha256="0" * 64,
    )
    return network.eval(), bundles.load(tmp_path / "bundle")


def test_it_is_restored_without_data_and_answers_alike(trained_a_little):
    network, bundle = trained_a_little
    assert torch.equal(architectures.restore(bundle)(pictures(side=32)), network(pictures(side=32)))


def test_its_graph_answers_as_it_does(trained_a_little, tmp_path):
    bundle = trained_a_little[1]
    drawn = np.random.default_rng(0).integers(0, 256, (4, 9, 7, 3), np.uint8)
    photos = [np.asarray(Image.fromarray(small).resize((50 + 9 * k, 40), 3)) for k, small in enumerate(drawn)]
    found = export.parity(bundle, export.export(bundle, tmp_path), photos)
    assert found.network <= 1e-5
    assert found.picture <= 1e-3
