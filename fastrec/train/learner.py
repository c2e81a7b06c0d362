"""fastai's Learner around a plain timm network, and the bundle that comes out of it."""

from __future__ import annotations

import math
from typing import Any

import torch
from fastai.callback.channelslast import ChannelsLast
from fastai.callback.core import Callback
from fastai.callback.schedule import SuggestionMethod
from fastai.data.core import DataLoaders
from fastai.learner import Learner
from fastai.losses import CrossEntropyLossFlat
from fastai.metrics import F1Score, accuracy
from fastai.torch_core import set_seed

from fastrec import bundle, files
from fastrec.artefacts import BUNDLE, CACHE, SPLITS, stage_folder
from fastrec.files import FastrecError
from fastrec.records import BundleRecord, Preprocessing
from fastrec.run import Run
from fastrec.train import architectures
from fastrec.train.history import History


class StopAtNaN(Callback):
    """End training at the first step whose loss is not finite: fastai alone would end quietly with stale weights."""

    def after_loss(self) -> None:
        """Check the loss before it reaches the weights."""
        loss = self.loss.detach().item()
        if self.training and not math.isfinite(loss) and not hasattr(self.learn, "lr_finder"):
            rate = self.opt.hypers[-1]["lr"]
            raise FastrecError(
                f"the loss became {loss} at epoch {self.epoch}, step {self.iter}, learning rate {rate:.2g}: "
                "take a smaller learning_rate."
            )


def create(
    dls: DataLoaders,
    architecture: str = "fastnet",
    options: dict[str, Any] | None = None,
    weight_decay: float = 0.01,
    label_smoothing: float = 0.0,
    seed: int = 0,
) -> Learner:
    """Make a Learner with fresh weights that depend on the seed alone.

    Parameters
    ----------
    dls
        From `fastrec.train.loaders.load`.
    architecture, options
        See `fastrec.train.architectures.build`.
    weight_decay, label_smoothing
        Of AdamW and of the cross entropy.
    seed
        Of the weights, and of all that training draws after this call.
    """
    set_seed(seed, reproducible=True)
    network = architectures.build(architecture, len(dls.vocab), **(options or {}))
    learn = Learner(
        dls,
        network,
        loss_func=CrossEntropyLossFlat(label_smoothing=label_smoothing),
        metrics=[accuracy, F1Score(average="macro")],
        splitter=architectures.head_parameters,
        wd=weight_decay,
        cbs=[ChannelsLast(), StopAtNaN(), History()],
        path=dls.path,
    )
    learn.recorder.train_metrics = True
    learn.architecture, learn.architecture_options = architecture, options or {}
    return learn


def suggest_rate(learn: Learner) -> float:
    """Run the learning-rate finder (Smith 2017, https://arxiv.org/abs/1506.01186) and return its *valley*."""
    return float(learn.lr_find(suggest_funcs=(SuggestionMethod.Valley,), show_plot=False).valley)


def validate(learn: Learner) -> dict[str, float]:
    """Return loss, accuracy and macro F1 on the valid split."""
    with learn.no_bar(), learn.no_logging():
        loss, right, f1 = learn.validate()
    return {"loss": float(loss), "accuracy": float(right), "macro_f1": float(f1)}


def save(run: Run, learn: Learner, name: str, stage: str) -> BundleRecord:
    """Write the Learner's network as the bundle ``<stage>/<name>``, with its figures on the valid split."""
    info = run.read(CACHE)
    with run.writing(BUNDLE, name, stage) as folder:
        return bundle.save(
            folder,
            learn.model.state_dict(),
            name=name,
            stage=stage_folder(stage),
            run=run.name,
            architecture=learn.architecture,
            architecture_options=learn.architecture_options,
            classes=info.classes,
            preprocessing=Preprocessing(size=info.size, resize=info.resize, mean=info.mean, std=info.std),
            parameters=architectures.parameter_count(learn.model),
            valid=validate(learn),
            data_sha256=files.checksum(run.path(SPLITS)),
        )


def summary(network: torch.nn.Module, size: int) -> dict[str, Any]:
    """Describe a network: weights, bytes, and milliseconds of one forward pass of one image on this machine."""
    import timeit

    count = architectures.parameter_count(network)
    network.eval()
    image = torch.zeros(1, 3, size, size, device=next(network.parameters()).device)
    with torch.inference_mode():
        network(image)
        spent = min(timeit.repeat(lambda: network(image), number=3, repeat=5)) / 3
    return {"parameters": count, "megabytes": round(count * 4 / 1e6, 2), "milliseconds": round(1000 * spent, 2)}
