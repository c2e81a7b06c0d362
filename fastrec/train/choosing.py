"""A table for choosing an architecture: its size, its speed on this machine, and how good its published weights are."""

from __future__ import annotations

import time
import timeit
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import pandas as pd
import timm
import torch
from torch import nn

from fastrec import engine
from fastrec.files import FastrecError
from fastrec.train import architectures

SHORT: dict[str, tuple[str, dict[str, Any]]] = {  # a few of each family, small ones first
    **{f"fastnet, width {width}": ("fastnet", {"width": width}) for width in (16, 32, 64)},
    "rownet": ("rownet", {}),
    **{
        name: (name, {})
        for name in (
            *("mobilenetv3_small_100", "efficientnet_b0", "convnext_atto", "resnet18", "resnet50", "densenet121"),
            *("alexnet", "vit_tiny_patch16_224", "vgg11_bn", "inception_v3"),
        )
    },
}
# Share of ImageNet's validation pictures that the published weights name right, each at its own size (224 to 299
# pixels): results/results-imagenet.csv of github.com/huggingface/pytorch-image-models (Apache-2.0), commit 0173a139.
IMAGENET = {
    "convnext_atto.d2_in1k": 0.77008,
    "densenet121.ra_in1k": 0.76500,
    "efficientnet_b0.ra_in1k": 0.77694,
    "inception_v3.tv_in1k": 0.77434,
    "mobilenetv3_small_100.lamb_in1k": 0.67656,
    "resnet18.a1_in1k": 0.73158,
    "resnet50.a1_in1k": 0.81214,
    "vgg11_bn.tv_in1k": 0.70382,
    "vit_tiny_patch16_224.augreg_in21k_ft_in1k": 0.75454,
}
BATCH = 16
_SHOWN = {
    "parameters": ("parameters", "{:,}"),
    "megabytes": ("MB", "{:,.1f}"),
    "one_ms": ("ms for one", "{:.2f}"),
    "training_ms": ("ms to train on one", "{:.2f}"),
    "imagenet": ("on ImageNet", "{:.1%}"),
}
SECONDS = 20  # after which no further ones are measured: on a busy machine each may take long
LARGEST = 60_000_000  # weights of a network that is measured without being asked for: larger ones take seconds


def table(size: int, classes: int = 10, channels: int = 3, names: Iterable[str] | None = None) -> pd.DataFrame:
    """Compare architectures on pictures of one size.

    Parameters
    ----------
    size, classes, channels
        Side of the pictures in pixels, and what else the data asks for.
    names
        Names that `fastrec.train.architectures.build` knows, or keys of `SHORT`; None takes all of these.

    Returns
    -------
    By ``architecture``: ``parameters``; ``megabytes`` of the bundle's weights; ``one_ms``, milliseconds of a forward
    pass of one picture, and ``training_ms``, of forward and backward per picture of a batch of `BATCH`, both
    measured now; ``imagenet``, the accuracy of the weights that ``pretrained="hub"`` takes, where known;
    ``note``: why it cannot take such pictures, or was not measured.  Only the two columns in ms differ from run to run.

    Raises
    ------
    FastrecError
        If a name is unknown.
    """
    chosen = dict(SHORT) if names is None else {name: SHORT.get(name, (name, {})) for name in names}
    for architecture, _ in chosen.values():
        architectures.check_name(architecture)
    began = time.monotonic()
    skip = _never if names is not None else partial(_unasked, began + SECONDS)
    rows = (_row(*entry, size, classes, channels, skip) for entry in chosen.values())
    found = list(engine.progress(rows, len(chosen), "architectures", unit="network"))
    columns = ["parameters", "megabytes", "one_ms", "training_ms", "imagenet", "note"]
    made = pd.DataFrame(found, index=pd.Index(chosen, name="architecture"), columns=columns)
    return made.astype({"parameters": "Int64", "note": object})


def readable(made: pd.DataFrame) -> pd.DataFrame:
    """Return what :func:`table` gives as texts for people, the fastest to train first."""
    shown = made.sort_values("training_ms").reset_index()
    texts = pd.DataFrame({"architecture": shown["architecture"]})
    for column, (title, form) in _SHOWN.items():
        texts[title] = [form.format(value) if pd.notna(value) else "" for value in shown[column]]
    texts["note"] = shown["note"].str.replace(r"^architecture \S+ | \(.*", "", regex=True)
    return texts


def _never(_: int) -> str:
    return ""


def _unasked(until: float, count: int) -> str:
    """Say why a network of so many weights is not measured in a list that nobody chose."""
    if count > LARGEST:
        return "large: ask for it by name to have it measured"
    return "" if time.monotonic() < until else "time was up: ask for it by name to have it measured"


def _row(
    architecture: str, options: dict[str, Any], size: int, classes: int, channels: int, skip: Callable[[int], str]
) -> dict[str, Any]:
    options = architectures.sized(architecture, size, options, channels)
    row: dict[str, Any] = {"imagenet": _published(architecture), "note": ""}
    try:
        count = architectures.parameter_count(_shaped(architecture, options, size, classes, channels))
    except FastrecError as error:
        return row | {"note": str(error)}
    row |= {"parameters": count, "megabytes": round(count * 4 / 1e6, 1)}
    if why := skip(count):
        return row | {"note": why}
    with torch.random.fork_rng(devices=[]):
        network = architectures.build(architecture, classes, **options)
    return row | _measured(network, size, channels)


def _published(architecture: str) -> float | None:
    known = timm.get_pretrained_cfg(architecture)
    return IMAGENET.get(f"{architecture}.{known.tag}") if known is not None else None


def _shaped(architecture: str, options: dict[str, Any], size: int, classes: int, channels: int) -> nn.Module:
    """Return the network without values: shapes alone tell its size and whether it takes the pictures."""
    try:
        with torch.device("meta"):
            network = architectures.build(architecture, classes, **options)
            architectures.check_size(network, architecture, size, channels)
    except FastrecError:  # some need values to be built; what else is wrong is told again
        with torch.random.fork_rng(devices=[]):
            network = architectures.build(architecture, classes, **options)
        architectures.check_size(network, architecture, size, channels)
    return network


def _measured(network: nn.Module, size: int, channels: int) -> dict[str, float]:
    """Time both passes; in milliseconds."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    network.to(memory_format=torch.channels_last).to(device)  # type: ignore[call-overload]  # as in training
    one, many = (torch.zeros(n, channels, size, size, device=device) for n in (1, BATCH))

    def forward() -> None:
        with torch.inference_mode():
            network.eval()(one).sum().item()  # which waits for the device

    def both() -> None:
        network.train()(many).sum().backward()
        next(network.parameters()).sum().item()

    return {"training_ms": round(1000 * _least(both) / BATCH, 2), "one_ms": round(1000 * _least(forward), 2)}


def _least(work: Callable[[], None]) -> float:
    """Return the seconds of the call, of some in 50 ms, that others on the machine disturbed least; one warms up."""
    work()
    spent: list[float] = []
    while sum(spent) < 0.05:
        spent.append(timeit.timeit(work, number=1))
    return min(spent)
