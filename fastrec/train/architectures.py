"""Every network behind one name: timm's models and ``fastnet``, made and restored without fastai."""

from __future__ import annotations

import difflib
import os
from typing import Any

# timm asks the hub again and again when offline; whoever wants weights says pretrained="hub".
os.environ.setdefault("HF_HUB_OFFLINE", "1")

import timm
import torch
from torch import nn

from fastrec.bundle import Bundle
from fastrec.files import FastrecError
from fastrec.train import fastnet, rownet  # noqa: F401 (they register themselves with timm)

__all__ = ["architecture_names", "build", "check_size", "parameter_count", "restore", "sized"]


def architecture_names(pattern: str = "*") -> list[str]:
    """List the names that :func:`build` knows, such as ``resnet*``."""
    return timm.list_models(pattern)


def build(name: str, classes: int, **options: Any) -> nn.Module:
    """Make a network by name, with fresh weights.

    Parameters
    ----------
    name
        Any timm model, or ``fastnet``.
    classes
        How many logits it gives.
    **options
        Passed to the architecture, such as ``width`` of ``fastnet`` or ``drop_rate``.

    Returns
    -------
    A module from float (n, 3, height, width) to logits (n, classes).

    Raises
    ------
    FastrecError
        If the name is unknown (names the nearest) or an option does not fit.
    """
    if not timm.is_model(name):
        near = difflib.get_close_matches(name, architecture_names(), n=3, cutoff=0.5)
        hint = f"did you mean {', '.join(near)}?" if near else "timm.list_models() lists them."
        raise FastrecError(f"architecture {name!r} is unknown: {hint}")
    try:
        return timm.create_model(name, num_classes=classes, **options)
    except TypeError as error:
        raise FastrecError(f"architecture {name} does not take {options}: {error}.") from error


def sized(name: str, size: int, options: dict[str, Any]) -> dict[str, Any]:
    """Return the options with ``img_size`` added where an architecture is built for one size, as transformers are."""
    known = timm.get_pretrained_cfg(name) if timm.is_model(name) else None
    fixed = name == "rownet" or (known is not None and known.fixed_input_size)
    return {"img_size": size, **options} if fixed else options


def check_size(network: nn.Module, name: str, size: int) -> None:
    """Try one empty picture of ``size`` pixels a side.

    Raises
    ------
    FastrecError
        If it is too small, or no multiple of what the network divides it by.
    """
    network.eval()
    try:
        with torch.inference_mode():
            network(torch.zeros(2, 3, size, size))
    except (RuntimeError, ValueError, AssertionError) as error:
        reason = (str(error).strip() or "its assertion failed").splitlines()[0].rstrip(".")
        raise FastrecError(
            f"architecture {name} cannot take pictures of {size} pixels ({reason}): set the size of preprocess to a "
            "larger one, or choose another architecture."
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


def head_parameters(network: nn.Module) -> list[list[torch.nn.Parameter]]:
    """Split the weights into body and classifier: fastai's ``splitter`` for freezing and discriminative rates."""
    head = list(network.get_classifier().parameters())  # type: ignore[operator]
    inside = {id(parameter) for parameter in head}
    return [[parameter for parameter in network.parameters() if id(parameter) not in inside], head]
