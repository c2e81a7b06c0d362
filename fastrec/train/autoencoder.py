"""An autoencoder of ``fastnet``'s body: the encoder can start a classifier, the error says how strange a picture is."""

from __future__ import annotations

import itertools

import numpy as np
import torch
from fastai.callback.core import Callback
from fastai.callback.schedule import Learner  # the module that gives Learner its fit_one_cycle
from fastai.data.core import DataLoaders
from fastai.losses import MSELossFlat
from fastai.torch_core import set_seed
from torch import nn

from fastrec.train.fastnet import FastNet

BATCH = 256


class AutoEncoder(nn.Module):
    """Squeeze a picture through a narrow code and paint it again (Hinton and Salakhutdinov 2006, Science 313).

    Parameters
    ----------
    width
        Of the `FastNet` whose body encodes.
    code
        Channels of the code, which has an eighth of the picture's side: the narrower, the stranger
        what is rare.
    """

    def __init__(self, width: int = 24, code: int = 8) -> None:
        super().__init__()
        self.encoder = FastNet(1, width=width)
        self.squeeze = nn.Conv2d(4 * width, code, 1)
        channels = [code, 4 * width, 2 * width, width]
        steps = [_doubled(before, after) for before, after in itertools.pairwise(channels)]
        self.decoder = nn.Sequential(*steps, nn.Conv2d(width, 3, 3, padding=1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the picture painted again, (n, 3, height, width) as given."""
        painted = self.decoder(self.squeeze(self.encoder.forward_features(x)))
        return nn.functional.interpolate(painted, x.shape[2:], mode="bilinear", align_corners=False)

    def body(self) -> dict[str, torch.Tensor]:
        """Return the encoder's weights by the names that `FastNet` gives them, without its unused head."""
        return {name: value for name, value in self.encoder.state_dict().items() if not name.startswith("head.")}


def _doubled(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Upsample(scale_factor=2),
        nn.Conv2d(inputs, outputs, 3, padding=1, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(inplace=True),
    )


class _AimAtItself(Callback):
    """Before each batch, make the picture its own target: labels are not looked at."""

    def before_batch(self) -> None:
        self.learn.yb = self.xb


def pretrain(
    dls: DataLoaders, width: int = 24, code: int = 8, epochs: int = 10, rate: float = 3e-3, seed: int = 0
) -> Learner:
    """Train an autoencoder on the pictures of the train split; labels are not used.

    Parameters
    ----------
    dls
        From `fastrec.train.loaders.load`.
    width, code
        See `AutoEncoder`.
    epochs, rate, seed
        Of a one-cycle training with Adam.
    """
    set_seed(seed, reproducible=True)
    learn = Learner(dls, AutoEncoder(width, code), loss_func=MSELossFlat(), cbs=[_AimAtItself()], path=dls.path)
    with learn.no_bar(), learn.no_logging():
        learn.fit_one_cycle(epochs, rate)
    return learn


def strangeness(network: AutoEncoder, pixels: np.ndarray, mean: list[float], std: list[float]) -> np.ndarray:
    """Return the mean squared error of each picture painted again, in normalised levels.

    Parameters
    ----------
    network
        Trained.
    pixels
        uint8, (n, height, width, 3), at the size of the training.
    mean, std
        Per channel, as in the record of the cache.
    """
    shift, scale = (torch.tensor(levels).view(1, 3, 1, 1) for levels in (mean, std))
    device, found = next(network.parameters()).device, []
    network.eval()
    with torch.inference_mode():
        for start in range(0, len(pixels), BATCH):
            part = torch.from_numpy(np.array(pixels[start : start + BATCH])).permute(0, 3, 1, 2).float() / 255
            part = ((part - shift) / scale).to(device)
            found.append((network(part) - part).square().mean((1, 2, 3)).cpu())
    return torch.cat(found).numpy() if found else np.zeros(0, np.float32)
