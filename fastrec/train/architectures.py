"""Every network behind one name: timm's models and our own, made and restored without fastai."""

from __future__ import annotations

import difflib
import os
import re
from typing import Any

# timm asks the hub again and again when offline; whoever wants weights says pretrained="hub".
os.environ.setdefault("HF_HUB_OFFLINE", "1")

import numpy as np
import timm
import torch
from timm.models import group_parameters
from torch import nn

from fastrec.bundle import Bundle
from fastrec.files import FastrecError
from fastrec.train import alexnet, fastnet, rownet  # noqa: F401 (they register themselves with timm)

__all__ = [
    "architecture_names",
    "build",
    "check_name",
    "check_size",
    "layer_groups",
    "parameter_count",
    "restore",
    "sized",
]

BODY_GROUPS = 5  # most groups that train or stay frozen together, beside the head
OF_ONE_SIZE = ("rownet", "alexnet")  # ours; timm's say so themselves


def architecture_names(pattern: str = "*") -> list[str]:
    """List the names that :func:`build` knows, such as ``resnet*``."""
    return timm.list_models(pattern)


def check_name(name: str) -> None:
    """Raise a FastrecError that names the nearest if an architecture is unknown."""
    if not timm.is_model(name):
        near = difflib.get_close_matches(name, architecture_names(), n=3, cutoff=0.5)
        hint = f"did you mean {', '.join(near)}?" if near else "`fastrec models '*'` lists them."
        raise FastrecError(f"architecture {name!r} is unknown: {hint}")


def build(name: str, classes: int, **options: Any) -> nn.Module:
    """Make a network by name, with fresh weights.

    Parameters
    ----------
    name
        Any timm model, or one of ours: ``fastnet``, ``rownet``, ``alexnet``.
    classes
        How many logits it gives.
    **options
        Passed to the architecture, such as ``width`` of ``fastnet``, ``drop_rate`` or ``in_chans``.

    Returns
    -------
    A module from float (n, in_chans, height, width) to logits (n, classes).

    Raises
    ------
    FastrecError
        If the name is unknown (names the nearest) or an option does not fit.
    """
    check_name(name)
    try:
        return timm.create_model(name, num_classes=classes, **options)
    except (TypeError, ValueError, AssertionError, RuntimeError) as error:  # each family refuses in its own way
        raise FastrecError(f"architecture {name} does not take {options}: {_reason(error)}.") from error


def _reason(error: Exception) -> str:
    return (str(error).strip() or "its assertion failed").splitlines()[0].rstrip(".")


def sized(name: str, size: int, options: dict[str, Any], channels: int = 3) -> dict[str, Any]:
    """Return the options with what the pictures ask for.

    That is ``img_size`` where an architecture is built for one size, as transformers are, and ``in_chans`` where
    the pictures are not RGB.
    """
    known = timm.get_pretrained_cfg(name) if timm.is_model(name) else None
    fixed = name in OF_ONE_SIZE or (known is not None and known.fixed_input_size)
    return ({"img_size": size} if fixed else {}) | options | ({} if channels == 3 else {"in_chans": channels})


def check_size(network: nn.Module, name: str, size: int, channels: int = 3) -> None:
    """Try two empty pictures of ``size`` pixels a side.

    Raises
    ------
    FastrecError
        If it is too small, or no multiple of what the network divides it by.
    """
    network.eval()
    try:
        with torch.inference_mode():
            network(torch.zeros(2, channels, size, size))
    except (RuntimeError, ValueError, AssertionError) as error:
        raise FastrecError(
            f"architecture {name} cannot take pictures of {size} pixels ({_reason(error)}): set the size of preprocess "
            "to a larger one, or choose another architecture."
        ) from error
    finally:
        network.train()


def restore(bundle: Bundle) -> nn.Module:
    """Rebuild the network of a bundle, with its weights, ready to predict.

    Raises
    ------
    FastrecError
        If the weights do not fit the architecture.
    """
    record = bundle.record
    network = build(record.architecture, len(record.classes), **record.architecture_options)
    try:
        network.load_state_dict(bundle.weights)
    except RuntimeError as error:
        raise FastrecError(
            f"the weights of {bundle.label} do not fit {record.architecture} ({str(error).splitlines()[0]}): "
            "train it again."
        ) from error
    return network.eval()


def parameter_count(network: nn.Module) -> int:
    """Return how many weights a network has."""
    return sum(parameter.numel() for parameter in network.parameters())


def layer_groups(network: nn.Module) -> list[list[nn.Parameter]]:
    """Split the weights by layer, from the first to the classifier: fastai's ``splitter``.

    The layers are those that timm tells of its model, else the network's parts in their order; where there are
    many, neighbours are joined.

    Returns
    -------
    At most five groups of the body, then the classifier's; every weight is in exactly one.
    """
    found = network.get_classifier()  # type: ignore[operator]  # several where a network was distilled
    head = [weight for layer in (found if isinstance(found, tuple) else (found,)) for weight in layer.parameters()]
    inside = {id(weight) for weight in head}
    layers = [[weight for weight in layer if id(weight) not in inside] for layer in _layers(network)]
    layers = [layer for layer in layers if layer]
    parts = np.array_split(np.arange(len(layers)), min(len(layers), BODY_GROUPS))
    return [*([weight for number in part for weight in layers[number]] for part in parts), head]


def _layers(network: nn.Module) -> list[list[nn.Parameter]]:
    if hasattr(network, "group_matcher"):
        try:
            matcher = network.group_matcher(coarse=True)  # type: ignore[operator]
        except AssertionError:  # some know the finer layers only
            matcher = network.group_matcher()  # type: ignore[operator]
        return list(group_parameters(network, matcher, return_values=True).values())
    found: dict[str, list[nn.Parameter]] = {}
    for name, weight in network.named_parameters():
        found.setdefault(re.match(r"(\D*\d+(?=\.)|\w+)", name)[0], []).append(weight)  # type: ignore[index]
    return list(found.values())
