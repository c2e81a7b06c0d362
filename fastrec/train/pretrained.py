"""Where weights come from: fresh, the hub, a safetensors file, or the bundle of another run."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn

from fastrec import bundle
from fastrec.artefacts import BUNDLE
from fastrec.files import FastrecError
from fastrec.run import Run, home

FRESH, HUB = "none", "hub"


def start_from(network: nn.Module, architecture: str, source: str) -> str:
    """Put known weights into a network; its classifier stays fresh unless it has the same shape.

    Parameters
    ----------
    network, architecture
        As made by `fastrec.train.architectures.build` under that name.
    source
        ``none``; ``hub`` (timm's published weights, fetched once); ``PATH.safetensors``; or
        ``RUN/STAGE/NAME``, a bundle such as ``pets/03_train/fastnet``.

    Returns
    -------
    One sentence on what was taken.

    Raises
    ------
    FastrecError
        If the source is not there or less than half of the network's body finds its weights in it.
    """
    if source == FRESH:
        return "fresh weights"
    weights = _hub(architecture) if source == HUB else _local(source)
    own = network.state_dict()
    fitting = {name: tensor for name, tensor in weights.items() if name in own and tensor.shape == own[name].shape}
    taken, total = (sum(tensor.numel() for tensor in found.values()) for found in (fitting, own))
    if taken < total / 2:
        raise FastrecError(
            f"pretrained={source!r} fits {architecture} in {taken:,} of its {total:,} numbers only: take weights "
            "of the same architecture and size."
        )
    network.load_state_dict(fitting, strict=False)
    fresh = sorted(set(own) - set(fitting))
    return f"{taken:,} of {total:,} numbers from {source}; fresh: {', '.join(fresh[:4]) or 'none'}"


def _local(source: str) -> dict[str, torch.Tensor]:
    if source.endswith(".safetensors"):
        return _file(home() / Path(source).expanduser())
    run, _, label = source.partition("/")
    stage, _, name = label.partition("/")
    if not name:
        raise FastrecError(f"pretrained is {source!r}: write none, hub, PATH.safetensors or RUN/STAGE/NAME.")
    return bundle.load(Run(run).read(BUNDLE, name, stage.partition("_")[2] or stage)).weights


def _file(path: Path) -> dict[str, torch.Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except FileNotFoundError:
        raise FastrecError(f"pretrained weights {path} are not there: check the path.") from None
    except (SafetensorError, OSError) as error:
        raise FastrecError(f"pretrained weights {path} are damaged ({error}): get the file again.") from error


def _hub(architecture: str) -> dict[str, torch.Tensor]:
    import timm
    from huggingface_hub import constants

    constants.HF_HUB_OFFLINE = False  # see fastrec.train.architectures
    try:
        return timm.create_model(architecture, pretrained=True).state_dict()
    except Exception as error:  # network, hub and file errors of many kinds
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise FastrecError(
            f"no weights for {architecture} from the hub ({reason[:120]}): connect to the internet, or give a local "
            "file as pretrained=PATH.safetensors."
        ) from error
    finally:
        constants.HF_HUB_OFFLINE = True
