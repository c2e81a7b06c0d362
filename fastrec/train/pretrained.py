"""Where weights come from: fresh, the hub, a safetensors file, or the bundle of another run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from fastrec import bundle
from fastrec.artefacts import BUNDLE
from fastrec.files import FastrecError
from fastrec.run import Run, home
from fastrec.train import architectures

FRESH, HUB = "none", "hub"


def start_from(
    network: nn.Module,
    architecture: str,
    source: str,
    classes: Sequence[str] = (),
    options: Mapping[str, Any] | None = None,
) -> str:
    """Put known weights into a network; its classifier stays fresh unless it tells the very same classes apart.

    Parameters
    ----------
    network, architecture
        As made by `fastrec.train.architectures.build` under that name.
    source
        ``none``; ``hub`` (timm's published weights, fetched once); ``PATH.safetensors``; or
        ``RUN/STAGE/NAME``, a bundle such as ``pets/03_train/fastnet``.
    classes
        The network's, in order.  Those of the weights are known from a bundle's record alone.
    options
        Those that the network was built with: timm fits the hub's weights to its size and channels.

    Returns
    -------
    One sentence on what was taken.

    Raises
    ------
    FastrecError
        If the source is not there or less than half of what is to be taken finds its weights in it.
    """
    if source == FRESH:
        return "fresh weights"
    weights, known = (_hub(architecture, options or {}), []) if source == HUB else _local(source)
    own = network.state_dict()
    left = set() if known and known == list(classes) else _head(network)
    wanted = {name: tensor for name, tensor in own.items() if name not in left}
    fitting = {name: weights[name] for name in wanted if name in weights and weights[name].shape == wanted[name].shape}
    taken, total = (sum(tensor.numel() for tensor in found.values()) for found in (fitting, wanted))
    if taken < total / 2:
        raise FastrecError(
            f"pretrained={source!r} fits {architecture} in {taken:,} of its {total:,} numbers only: take weights "
            "of the same architecture and size."
        )
    network.load_state_dict(fitting, strict=False)
    fresh = sorted(set(own) - set(fitting))
    return f"{taken:,} of {total:,} numbers from {source}; fresh: {', '.join(fresh[:4]) or 'none'}"


def _head(network: nn.Module) -> set[str]:
    """Return the names of the classifier's weights."""
    head = {id(weight) for weight in architectures.layer_groups(network)[-1]}
    return {name for name, weight in network.named_parameters() if id(weight) in head}


def _local(source: str) -> tuple[dict[str, torch.Tensor], list[str]]:
    """Return weights by name, and the classes that they tell apart where a record says so."""
    if source.endswith(".safetensors"):
        return _file(home() / Path(source).expanduser()), []
    run, _, label = source.partition("/")
    stage, _, name = label.partition("/")
    if not name:
        raise FastrecError(f"pretrained is {source!r}: write none, hub, PATH.safetensors or RUN/STAGE/NAME.")
    found = bundle.load(Run(run).read(BUNDLE, name, stage.partition("_")[2] or stage))
    return found.weights, found.record.classes


def _file(path: Path) -> dict[str, torch.Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except FileNotFoundError:
        raise FastrecError(f"pretrained weights {path} are not there: check the path.") from None
    except (SafetensorError, OSError) as error:
        raise FastrecError(f"pretrained weights {path} are damaged ({error}): get the file again.") from error


def _hub(architecture: str, options: Mapping[str, Any]) -> dict[str, torch.Tensor]:
    import timm
    from huggingface_hub import constants

    constants.HF_HUB_OFFLINE = False  # see fastrec.train.architectures
    try:
        return timm.create_model(architecture, pretrained=True, **options).state_dict()
    except Exception as error:  # network, hub and file errors of many kinds
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise FastrecError(
            f"no weights for {architecture} from the hub ({reason[:120]}): connect to the internet, or give a local "
            "file as pretrained=PATH.safetensors."
        ) from error
    finally:
        constants.HF_HUB_OFFLINE = True
