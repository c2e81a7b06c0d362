"""A network that fits its first layer to the pictures, as ``fastnet`` does, is shown some before it trains."""

from __future__ import annotations

import numpy as np
import torch
from fastai.data.core import DataLoaders
from torch import nn

LEVELS = 2**22  # values that are looked at: 1,365 pictures of 32 pixels, 85 of 128


def sample(dls: DataLoaders) -> torch.Tensor:
    """Return pictures of the train split, (n, channels, side, side), normalised and not augmented.

    They are evenly spaced over the split's rows in the cache, whose order follows from what the files
    hold: the same data give the same pictures.
    """
    dataset = dls.train_ds
    one = dataset[0][0].numel()
    count = max(1, min(len(dataset), LEVELS // one))
    places = np.linspace(0, len(dataset) - 1, count).astype(int).tolist()
    return torch.Tensor(dls.valid.after_batch(dataset.batch(places))[0])


def show(network: nn.Module, dls: DataLoaders) -> None:
    """Call the network's ``whiten`` with such pictures, if it has that method."""
    whiten = getattr(network, "whiten", None)
    if whiten is not None:
        whiten(sample(dls))
