"""The autoencoder: it learns to paint, finds what is strange, and its encoder starts a classifier."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from fastrec.artefacts import CACHE, IMAGES, MANIFEST, SPLITS
from fastrec.files import FastrecError
from fastrec.preprocess import cache
from fastrec.train import architectures, autoencoder, loaders, training
from fastrec.train.pretrained import start_from
from fastrec.train.recipe import Recipe


@pytest.fixture
def trained(run):
    dls = loaders.load(run, Recipe(batch_size=8, augment="none"))
    return autoencoder.pretrain(dls, width=4, code=4, epochs=8, rate=1e-2).model


def test_what_it_never_saw_is_stranger_than_what_it_learnt(run, trained):
    pixels, info = np.array(run.read(IMAGES)), run.read(CACHE)
    stripes = np.tile(np.arange(16) % 2 * 255, (8, 16, 1)).astype(np.uint8)[..., None].repeat(3, -1)
    known = autoencoder.strangeness(trained, pixels, info.mean, info.std)
    strange = autoencoder.strangeness(trained, stripes, info.mean, info.std)
    assert known.shape == (len(pixels),)
    assert strange.min() > known.max()
    assert autoencoder.strangeness(trained, pixels[:0], info.mean, info.std).shape == (0,)


def test_its_encoder_starts_a_classifier(home, trained):
    save_file(trained.body(), home / "encoder.safetensors")
    network = architectures.build("fastnet", 2, width=4)
    said = start_from(network, "fastnet", "encoder.safetensors")
    torch.testing.assert_close(network.stages[0].conv1.weight, trained.encoder.stages[0].conv1.weight.cpu())
    torch.testing.assert_close(network.stem.filters, trained.encoder.stem.filters.cpu())
    assert "fresh: head.bias, head.weight" in said


@pytest.mark.parametrize("size", [16, 20, 33])
@pytest.mark.parametrize("channels", [1, 3])
def test_it_paints_at_any_size_and_in_grey(size, channels):
    network = autoencoder.AutoEncoder(width=4, in_chans=channels)
    assert network(torch.zeros(2, channels, size, size)).shape == (2, channels, size, size)


RECIPE = Recipe(options={"width": 4, "drop_rate": 0.1}, pretrained="autoencoder", batch_size=8, epochs=4)


def files_of(run):
    return sorted((run.folder / "03_train").glob("autoencoder-*.safetensors"))


def test_a_recipe_starts_from_it_and_takes_it_again(run, monkeypatch, capfd):
    learn = training.prepare(run, RECIPE)
    (file,) = files_of(run)
    assert f"from runs/t/03_train/{file.name}" in learn.start
    assert "fresh: head.bias, head.weight" in learn.start
    weights = load_file(file)
    assert torch.equal(learn.model.stages[1].conv2.weight, weights["stages.1.conv2.weight"])
    monkeypatch.setattr(autoencoder, "pretrain", lambda *_, **__: pytest.fail("it was there"))
    again = training.prepare(run, RECIPE)
    for mine, theirs in zip(learn.model.state_dict().values(), again.model.state_dict().values(), strict=True):
        assert torch.equal(mine, theirs)
    assert capfd.readouterr().out == ""


def test_trained_or_taken_the_classifier_learns_the_same(run):
    found = [training.fit(run, replace(RECIPE, epochs=1)).model.state_dict() for _ in range(2)]
    assert len(files_of(run)) == 1
    assert all(torch.equal(one, other) for one, other in zip(*(weights.values() for weights in found), strict=True))


def test_other_data_or_settings_ask_for_another_one(run):
    training.prepare(run, RECIPE)
    training.prepare(run, replace(RECIPE, learning_rate=0.5, label_smoothing=0.1))
    assert len(files_of(run)) == 1
    training.prepare(run, replace(RECIPE, options={"width": 5}))
    training.prepare(run, RECIPE, held_out=np.arange(10))
    assert len(files_of(run)) == 3


def test_a_damaged_file_is_made_again(run):
    training.prepare(run, RECIPE)
    (file,) = files_of(run)
    good = file.read_bytes()
    file.write_bytes(good[: len(good) // 2])
    training.prepare(run, RECIPE)
    assert file.read_bytes() == good


def test_another_architecture_cannot_start_from_it(run):
    with pytest.raises(FastrecError, match="only fastnet can start from"):
        training.prepare(run, replace(RECIPE, architecture="resnet18", options={}))


def test_the_strangest_come_first_and_none_of_the_test_split(run):
    dls = loaders.load(run, RECIPE)
    table = autoencoder.strangest(dls, RECIPE, 5)
    splits = run.read(SPLITS).set_index("image_id")["split"]
    assert table["error"].is_monotonic_decreasing
    assert set(splits[table["image_id"]]) <= {"train", "valid"}
    assert len(autoencoder.show(dls, table).axes) == 5


def test_grey_pictures_have_an_encoder_of_their_own(run):
    cache.build(run, run.read(MANIFEST), run.read(SPLITS), 16, colour="grey")
    learn = training.prepare(run, RECIPE)
    assert "fresh: head.bias, head.weight" in learn.start
    table = autoencoder.strangest(learn.dls, RECIPE, 3)
    assert len(autoencoder.show(learn.dls, table).axes) == 3
