"""The autoencoder: it learns to paint, finds what is strange, and its encoder starts a classifier."""

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from fastrec.artefacts import CACHE, IMAGES
from fastrec.train import architectures, autoencoder, loaders
from fastrec.train.pretrained import start_from


@pytest.fixture
def trained(run):
    dls = loaders.load(run, 8, "none")
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
    torch.testing.assert_close(network.stem[0].weight, trained.encoder.stem[0].weight.cpu())
    assert "fresh: head.bias, head.weight" in said


@pytest.mark.parametrize("size", [16, 20, 33])
def test_it_paints_at_any_size(size):
    assert autoencoder.AutoEncoder(4)(torch.zeros(2, 3, size, size)).shape == (2, 3, size, size)
