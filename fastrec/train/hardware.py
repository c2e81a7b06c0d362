"""What of a recipe the machine must be able to do: mixed precision and compiling; where it cannot, a sentence."""

from __future__ import annotations

import shutil

import torch
from fastai.callback.core import Callback
from fastai.callback.fp16 import MixedPrecision
from fastai.torch_core import to_float
from torch import nn


class BrainFloat(Callback):
    """Compute the forward and backward passes on a processor in bfloat16; weights, loss and steps stay float32.

    It does for a processor what fastai's `MixedPrecision` does for a GPU (Kalamkar et al. 2019,
    https://arxiv.org/abs/1905.12322).
    """

    order = MixedPrecision.order

    def before_batch(self) -> None:
        """Let PyTorch choose the format of each operation; its cache would outlive a step that fails."""
        self.autocast = torch.autocast("cpu", torch.bfloat16, cache_enabled=False)
        self.autocast.__enter__()

    def after_pred(self) -> None:
        """Leave the loss in float32: it adds up many small numbers."""
        self.autocast.__exit__(None, None, None)
        self.learn.pred = to_float(self.pred)


def mixed(device: torch.device) -> list[Callback]:
    """Return the callback for half precision (Micikevicius et al. 2018, https://arxiv.org/abs/1710.03740).

    A GPU computes with bfloat16 where it knows it, else with float16 and a scaled loss; a processor with bfloat16
    where it has instructions for it.  Any other computes in float32 as ever, since emulation is slower, and says so.
    """
    if device.type == "cuda":
        return [MixedPrecision("bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp16")]
    if knows_bfloat16():
        return [BrainFloat()]
    print("precision mixed is for a GPU or a processor with bfloat16, here is neither: training computes in float32.")
    return []


def knows_bfloat16() -> bool:
    """Tell whether this processor multiplies bfloat16 numbers itself."""
    able = torch.cpu.get_capabilities()
    return any(able.get(name, False) for name in ("avx512_bf16", "amx_bf16"))


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
