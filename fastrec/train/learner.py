"""fastai's Learner around a plain timm network, and the bundle that comes out of it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from fastai.callback.channelslast import ChannelsLast
from fastai.callback.core import Callback
from fastai.callback.schedule import SuggestionMethod
from fastai.data.core import DataLoaders
from fastai.learner import Learner
from fastai.torch_core import set_seed

from fastrec import bundle, files
from fastrec.artefacts import BUNDLE, CACHE, IMAGES, SPLITS, stage_folder
from fastrec.records import BundleRecord, Preprocessing
from fastrec.run import Run
from fastrec.train import (
    architectures,
    autoencoder,
    hardware,
    losses,
    mix,
    multilabel,
    optimizers,
    resizing,
    whitening,
)
from fastrec.train.accumulation import Accumulate
from fastrec.train.checkpoints import Checkpoints
from fastrec.train.ema import Average
from fastrec.train.figures import Accuracy, MacroF1
from fastrec.train.finite import StopAtNaN
from fastrec.train.history import History
from fastrec.train.keeping import LowestLoss
from fastrec.train.pretrained import FRESH, start_from
from fastrec.train.recipe import Recipe
from fastrec.train.resume import ExactLearner


def create(dls: DataLoaders, recipe: Recipe) -> ExactLearner:
    """Make the Learner of a recipe; its fresh weights, and all that training draws from now on, follow from the seed.

    Parameters
    ----------
    dls
        From `fastrec.train.loaders.load`.
    recipe
        See `fastrec.train.architectures.build` and `fastrec.train.pretrained.start_from` for the network.
    """
    recipe = replace(recipe, pretrained=autoencoder.source(dls, recipe))
    set_seed(recipe.seed, reproducible=True)
    network, options, start = _network(recipe, dls)
    learn = ExactLearner(
        dls,
        network,
        loss_func=losses.choose(recipe, dls),
        metrics=[multilabel.accuracy, multilabel.macro_f1(len(dls.vocab))]
        if dls.multi_label
        else [Accuracy(), MacroF1()],
        opt_func=optimizers.named(recipe.optimizer),
        splitter=architectures.layer_groups,
        wd=recipe.weight_decay,
        cbs=_callbacks(recipe, network, dls),
        path=dls.path,
    )
    if recipe.compiled:
        hardware.compile_network(network, dls.device)
    learn.recorder.train_metrics = True
    learn.architecture, learn.architecture_options, learn.start = recipe.architecture, options, start
    return learn


def _callbacks(recipe: Recipe, network: torch.nn.Module, dls: DataLoaders) -> list[Callback]:
    found = [ChannelsLast(), StopAtNaN(recipe.clip), History()]
    found += [*mix.callbacks(recipe), *resizing.callbacks(recipe, network, dls)]
    if recipe.accumulate > 1:
        found.append(Accumulate(recipe.accumulate))
    if recipe.precision == "mixed":
        found += hardware.mixed(dls.device)
    if recipe.keep == "average":
        found.append(Average())
    if recipe.keep == "best" or recipe.patience:
        found.append(LowestLoss(recipe.keep == "best", recipe.patience))
    return found


def _network(recipe: Recipe, dls: DataLoaders) -> tuple[torch.nn.Module, dict[str, Any], str]:
    """Return the network, the options that rebuild it, and a sentence on its weights."""
    options = architectures.sized(recipe.architecture, dls.size, recipe.options, dls.channels)
    network = architectures.build(recipe.architecture, len(dls.vocab), **options)
    architectures.check_size(network, recipe.architecture, dls.size, dls.channels)
    if recipe.pretrained == FRESH:
        whitening.show(network, dls)
    return network, options, start_from(network, recipe.architecture, recipe.pretrained, list(dls.vocab), options)


def keep_checkpoints(run: Run, learn: ExactLearner, every: int) -> None:
    """Save a checkpoint every so many steps, and go on from the one that an interrupted training of this stage left.

    A checkpoint of other data, parameters, code or versions is not used, and it is said what differs.
    They are removed once :func:`save` has written the bundle.
    """
    stage = run.record("train")
    made_by = {"code": stage.code, "versions": stage.versions, **stage.parameters} if stage else {}
    made_by.pop("checkpoint_every", None)  # changes how much a kill costs, not what comes out
    data = {artefact.file: files.checksum(run.path(artefact)) for artefact in (SPLITS, IMAGES, CACHE)}
    learn.keep(Checkpoints(run.path("03_train/checkpoints"), {**made_by, **data}), every)


def suggest_rate(learn: Learner) -> float:
    """Run the learning-rate finder (Smith 2017, https://arxiv.org/abs/1506.01186) and return its *valley*."""
    return float(learn.lr_find(suggest_funcs=(SuggestionMethod.Valley,), show_plot=False).valley)


def validate(learn: Learner) -> dict[str, float]:
    """Return loss, accuracy and macro F1 on the valid split; with several labels by thresholds chosen on it."""
    return _judged(learn)[0]


def _judged(learn: Learner) -> tuple[dict[str, float], list[float] | None]:
    """Return what :func:`validate` does, and the thresholds."""
    with learn.no_bar(), learn.no_logging():
        loss, right, f1 = learn.validate()
        if not learn.dls.multi_label:
            return {"loss": float(loss), "accuracy": float(right), "macro_f1": float(f1)}, None
        found = learn.get_preds(dl=learn.dls.valid, reorder=False)
    scores, truth = found[0].double().cpu().numpy(), found[1].cpu().numpy() > 0
    thresholds = multilabel.thresholds(scores, truth)
    return {"loss": float(loss), **multilabel.figures(scores, truth, thresholds)}, thresholds


def save(run: Run, learn: ExactLearner, name: str, stage: str) -> BundleRecord:
    """Write the Learner's network as the bundle ``<stage>/<name>``, with its figures on the valid split."""
    info = run.read(CACHE)
    valid, thresholds = _judged(learn)
    with run.writing(BUNDLE, name, stage) as folder:
        record = bundle.save(
            folder,
            learn.model.state_dict(),
            name=name,
            stage=stage_folder(stage),
            run=run.name,
            architecture=learn.architecture,
            architecture_options=learn.architecture_options,
            classes=info.classes,
            preprocessing=Preprocessing(
                size=info.size, resize=info.resize, mean=info.mean, std=info.std, channels=info.channels
            ),
            parameters=architectures.parameter_count(learn.model),
            multi_label=info.multi_label,
            thresholds=thresholds,
            valid=valid,
            data_sha256=files.checksum(run.path(SPLITS)),
        )
    if learn.checkpointing is not None:
        learn.checkpointing.checkpoints.clear()
    return record


def summary(network: torch.nn.Module, size: int, channels: int = 3) -> dict[str, Any]:
    """Describe a network: weights, bytes, and milliseconds of one forward pass of one image on this machine."""
    import timeit

    count = architectures.parameter_count(network)
    network.eval()
    image = torch.zeros(1, channels, size, size, device=next(network.parameters()).device)
    with torch.inference_mode():
        network(image)
        spent = min(timeit.repeat(lambda: network(image), number=3, repeat=5)) / 3
    return {"parameters": count, "megabytes": round(count * 4 / 1e6, 2), "milliseconds": round(1000 * spent, 2)}
