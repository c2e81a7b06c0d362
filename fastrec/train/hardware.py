"""What of a recipe the machine must be able to do: mixed precision and compiling; where it cannot, a sentence."""

from __future__ import annotations

import shutil

import torch
from fastai.callback.fp16 import MixedPrecision
from torch import nn


def mixed(device: torch.device) -> list[MixedPrecision]:
    """Return the callback for half precision (Micikevicius et al. 2018, https://arxiv.org/abs/1710.03740) on a GPU.

    It computes with bfloat16 where the GPU knows it, else with float16 and a scaled loss.  A processor computes
    in float32 as ever, since bfloat16 makes it slower, and it is said so.
    """
    if device.type != "cuda":
        print("precision mixed is for a GPU, here is none: training computes in float32.")
        return []
    return [MixedPrecision("bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp16")]


def compile_network(network: nn.Module, device: torch.device) -> None:
    """Have ``torch.compile`` make one program of a network at its first batch; the names of its weights stay.

    Each shape of a batch has a program of its own, so that it does not matter for the figures which came first.
    Without a compiler the network stays as it is, and it is said so.
    """
    if not any(map(shutil.which, ("c++", "g++", "clang++"))):
        print("compiled needs a C++ compiler (such as g++), here is none: the network runs as it is.")
    elif device.type == "cuda" and not _has_triton():
        print("compiled needs Triton for this GPU, which is not installed: the network runs as it is.")
    else:
        network.compile(dynamic=False)


def _has_triton() -> bool:
    from torch.utils._triton import has_triton

    return has_triton()
