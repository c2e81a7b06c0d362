"""An autoencoder of ``fastnet``'s body: the encoder can start a classifier, the error says how strange a picture is."""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from fastai.callback.channelslast import ChannelsLast
from fastai.callback.core import Callback
from fastai.callback.schedule import Learner  # the module that gives Learner its fit_one_cycle
from fastai.data.core import DataLoaders
from fastai.losses import MSELossFlat
from fastai.torch_core import set_seed
from matplotlib.figure import Figure
from torch import nn

from fastrec import channels, engine, files, plots
from fastrec.files import FastrecError
from fastrec.run import home
from fastrec.train import copies, whitening
from fastrec.train.fastnet import FastNet
from fastrec.train.finite import StopAtNaN
from fastrec.train.recipe import Recipe
from fastrec.train.resume import ExactLearner

BATCH = 256
CODE = 8
NAME = "autoencoder"  # of ``pretrained``, and of the files
SHARE, LEAST = 0.25, 3  # epochs: of those that the classifier has, and at least
RATE = 3e-3
VERSION = 1  # raised when the same settings would give other weights
_OF_IT = ("epochs", "batch_size", "augment", "flip", "erase", "seed")  # what it takes from a recipe


class AutoEncoder(nn.Module):
    """Squeeze a picture through a narrow code and paint it again (Hinton and Salakhutdinov 2006, Science 313).

    Parameters
    ----------
    code
        Channels of the code, which has an eighth of the picture's side: the narrower, the stranger
        what is rare.
    **options
        Of the `FastNet` whose body encodes, such as ``width`` and ``in_chans``.
    """

    def __init__(self, code: int = CODE, **options: Any) -> None:
        super().__init__()
        self.encoder = FastNet(1, **options)
        deep = self.encoder.num_features
        self.squeeze = nn.Conv2d(deep, code, 1)
        widths = [code, deep, deep // 2, deep // 4]
        steps = [_doubled(before, after) for before, after in itertools.pairwise(widths)]
        self.decoder = nn.Sequential(*steps, nn.Conv2d(deep // 4, options.get("in_chans", 3), 3, padding=1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the picture painted again, (n, in_chans, height, width) as given."""
        painted = self.decoder(self.squeeze(self.encoder.forward_features(x)))
        return nn.functional.interpolate(painted, x.shape[2:], mode="bilinear", align_corners=False)

    def body(self) -> dict[str, torch.Tensor]:
        """Return the encoder's weights by the names that `FastNet` gives them, without its unused head."""
        found = self.encoder.state_dict()
        return {name: value.contiguous() for name, value in found.items() if not name.startswith("head.")}

    def whiten(self, images: torch.Tensor) -> None:
        """Fit the encoder's stem, as `FastNet.whiten` does."""
        self.encoder.whiten(images)


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


class _Progress(Callback):
    """Show how many steps are done."""

    def before_fit(self) -> None:
        total = self.n_epoch * len(self.dls.train)
        self.steps: Iterator[int] = iter(engine.progress(range(total), total, NAME, "step"))

    def after_batch(self) -> None:
        if self.training:
            next(self.steps, None)

    def after_fit(self) -> None:
        next(self.steps, None)  # beyond the last: the bar closes


def pretrain(
    dls: DataLoaders, code: int = CODE, epochs: int = 10, rate: float = RATE, seed: int = 0, **options: Any
) -> Learner:
    """Train an autoencoder on the pictures of the train split; labels are not used.

    The loaders stay as they are.

    Parameters
    ----------
    dls
        From `fastrec.train.loaders.load`.
    code, **options
        See `AutoEncoder`.
    epochs, rate, seed
        Of a one-cycle training with Adam.
    """
    set_seed(seed, reproducible=True)
    own = copies.of_loaders(dls)
    network = AutoEncoder(code, **options)
    whitening.show(network, own)
    callbacks = [ChannelsLast(), StopAtNaN(), _AimAtItself(), _Progress()]
    learn = ExactLearner(own, network, loss_func=MSELossFlat(), cbs=callbacks, path=dls.path)
    with learn.no_bar(), learn.no_logging():
        learn.fit_one_cycle(epochs, rate)
    return learn


def trained(dls: DataLoaders, recipe: Recipe) -> tuple[AutoEncoder, Path]:
    """Return the autoencoder of a recipe's data and settings, and its file: trained once, then taken from it.

    Raises
    ------
    FastrecError
        If the recipe's architecture is not ``fastnet``.
    """
    if recipe.architecture != "fastnet":
        raise FastrecError(
            f"pretrained is {NAME!r}, which only fastnet can start from: choose it, or another start for "
            f"{recipe.architecture}."
        )
    options = {name: value for name, value in recipe.options.items() if name != "drop_rate"}
    options |= {} if dls.channels == 3 else {"in_chans": dls.channels}
    path = dls.path / f"{NAME}-{_key(dls, recipe, options)}.safetensors"
    network = AutoEncoder(**options)
    if not _taken(network, path):
        epochs = max(LEAST, round(SHARE * recipe.epochs))
        network = pretrain(dls, epochs=epochs, seed=recipe.seed, **options).model.cpu()
        _write(network, path)
    return network, path


def source(dls: DataLoaders, recipe: Recipe) -> str:
    """Return the recipe's ``pretrained``; for an autoencoder the file of its encoder, trained if need be."""
    return str(trained(dls, recipe)[1].relative_to(home())) if recipe.pretrained == NAME else recipe.pretrained


def _key(dls: DataLoaders, recipe: Recipe, options: dict[str, Any]) -> str:
    """Return what names data and settings: another key, other weights."""
    told = {name: getattr(recipe, name) for name in _OF_IT} | {"options": options, "version": VERSION}
    digest = hashlib.sha256(json.dumps(told, sort_keys=True).encode())
    digest.update("".join(dls.image_ids[np.sort(dls.train_ds.rows)]).encode())
    digest.update(whitening.sample(dls).numpy().tobytes())  # how they were cut, resized and normalised
    return digest.hexdigest()[:16]


def _write(network: AutoEncoder, path: Path) -> None:
    from safetensors.torch import save_file

    rest = {name: value for name, value in network.state_dict().items() if not name.startswith("encoder.")}
    with files.replacing(path) as temporary:
        save_file({name: value.contiguous() for name, value in (network.body() | rest).items()}, temporary)


def _taken(network: AutoEncoder, path: Path) -> bool:
    """Put a file's weights into the network, if there is one that was not damaged."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        weights = load_file(path)
    except (OSError, SafetensorError):
        return False
    body = set(network.body())
    found = {f"encoder.{name}" if name in body else name: value for name, value in weights.items()}
    return set(network.load_state_dict(found, strict=False).missing_keys) <= {
        "encoder.head.weight",
        "encoder.head.bias",
    }


def strangeness(network: AutoEncoder, pixels: np.ndarray, mean: list[float], std: list[float]) -> np.ndarray:
    """Return the mean squared error of each picture painted again, in normalised levels.

    Parameters
    ----------
    network
        Trained.
    pixels
        uint8, (n, height, width, channels), at the size of the training.
    mean, std
        Per channel, as in the record of the cache.
    """
    shift, scale = (torch.tensor(levels).view(1, -1, 1, 1) for levels in (mean, std))
    device, found = next(network.parameters()).device, []
    network.eval()
    with torch.inference_mode():
        for start in range(0, len(pixels), BATCH):
            part = torch.from_numpy(np.array(pixels[start : start + BATCH])).permute(0, 3, 1, 2).float() / 255
            part = ((part - shift) / scale).to(device)
            found.append((network(part) - part).square().mean((1, 2, 3)).cpu())
    return torch.cat(found).numpy() if found else np.zeros(0, np.float32)


def strangest(dls: DataLoaders, recipe: Recipe, count: int = 16) -> pd.DataFrame:
    """Return the pictures of train and valid that the autoencoder paints worst, the strangest first.

    Columns: ``image_id``, ``row`` in the cache, ``error`` (mean squared, in normalised levels) and ``times``, the
    same as a multiple of the median picture's.
    """
    network = trained(dls, recipe)[0]
    tail = dls.valid.prepare
    mean, std = (levels.flatten().tolist() for levels in (tail.mean, tail.std))
    rows = np.sort(np.concatenate([loader.dataset.rows for loader in dls.loaders]))
    error = strangeness(network, dls.train_ds.images[rows], mean, std)
    table = pd.DataFrame({"image_id": dls.image_ids[rows], "row": rows, "error": error})
    table["times"] = table["error"] / table["error"].median()
    return table.sort_values(["error", "row"], ascending=[False, True], ignore_index=True).head(count)


def show(dls: DataLoaders, strange: pd.DataFrame) -> Figure:
    """Draw what :func:`strangest` found: each picture under how many times stranger it is than the median one."""
    pictures = list(channels.expanded(dls.train_ds.images[strange["row"].to_numpy()]))
    return plots.image_grid(pictures, [f"{times:.1f} x" for times in strange["times"]])
