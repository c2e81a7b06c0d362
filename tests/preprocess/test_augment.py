"""Augmentation: stronger levels change more, and an unknown one is refused."""

import numpy as np
import pytest
import torch

from fastrec.files import FastrecError
from fastrec.preprocess import augment


def change(level, flip=False):
    from fastai.vision.core import TensorImage

    torch.manual_seed(0)
    picture = torch.zeros(64, 3, 32, 32)
    picture[:, :, 8:20, 12:18] = 1.0
    batch = TensorImage(picture.clone())
    for transform in augment.batch_transforms(level, flip):
        batch = transform(batch, split_idx=0)
    assert batch.shape == picture.shape
    return float((batch - picture).abs().mean())


def test_levels_are_ordered():
    amounts = [change(level) for level in augment.LEVELS]
    assert amounts[0] == 0
    assert amounts == sorted(amounts)
    assert amounts[1] > 0


def test_flip_alone_mirrors_some():
    assert change("none", flip=True) > 0


def test_an_unknown_level_is_refused():
    with pytest.raises(FastrecError, match="augment is 'wild'"):
        augment.batch_transforms("wild", False)


def test_preview_is_a_figure_with_one_row_per_picture():
    figure = augment.preview(np.zeros((2, 16, 16, 3), np.uint8), "light", True, variants=3)
    assert len(figure.axes) == 8
