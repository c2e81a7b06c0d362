"""fastai's Learner around a plain timm network, and the bundle that comes out of it."""

from __future__ import annotations

from typing import Any

import torch
from fastai.callback.channelslast import ChannelsLast
from fastai.callback.schedule import SuggestionMethod
from fastai.data.core import DataLoaders
from fastai.learner import Learner
from fastai.losses import CrossEntropyLossFlat
from fastai.metrics import F1Score, accuracy
from fastai.torch_core import set_seed

from fastrec import bundle, files
from fastrec.artefacts import BUNDLE, CACHE, IMAGES, SPLITS, stage_folder
from fastrec.records import BundleRecord, Preprocessing
from fastrec.run import Run
from fastrec.train import architectures, multilabel
from fastrec.train.checkpoints import Checkpoints
from fastrec.train.finite import StopAtNaN
from fastrec.train.history import History
from fastrec.train.multilabel import SmoothedBCE
from fastrec.train.pretrained import start_from
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
    set_seed(recipe.seed, reproducible=True)
    network, options, start = _network(recipe, len(dls.vocab), dls.size)
    learn = ExactLearner(
        dls,
        network,
        loss_func=(SmoothedBCE if dls.multi_label else CrossEntropyLossFlat)(label_smoothing=recipe.label_smoothing),
        metrics=[multilabel.accuracy, multilabel.macro_f1(len(dls.vocab))]
        if dls.multi_label
        else [accuracy, F1Score(average="macro")],
        splitter=architectures.head_parameters,
        wd=recipe.weight_decay,
        cbs=[ChannelsLast(), StopAtNaN(), History()],
        path=dls.path,
    )
    learn.recorder.train_metrics = True
    learn.architecture, learn.architecture_options, learn.start = recipe.architecture, options, start
    return learn


def _network(recipe: Recipe, classes: int, size: int) -> tuple[torch.nn.Module, dict[str, Any], str]:
    """Return the network, the options that rebuild it, and a sentence on its weights."""
    options = architectures.sized(recipe.architecture, size, recipe.options)
    network = architectures.build(recipe.architecture, classes, **options)
    architectures.check_size(network, recipe.architecture, size)
    return network, options, start_from(network, recipe.architecture, recipe.pretrained)


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
            preprocessing=Preprocessing(size=info.size, resize=info.resize, mean=info.mean, std=info.std),
            parameters=architectures.parameter_count(learn.model),
            multi_label=info.multi_label,
            thresholds=thresholds,
            valid=valid,
            data_sha256=files.checksum(run.path(SPLITS)),
        )
    if learn.checkpointing is not None:
        learn.checkpointing.checkpoints.clear()
    return record


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
