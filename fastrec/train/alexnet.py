"""``alexnet``: the network that began it, for pictures of any size from 32 pixels on."""

from __future__ import annotations

from typing import Any

import torch
from timm.models import register_model
from torch import nn

from fastrec.train.headed import Headed, own_options

SMALLEST = 32


class AlexNet(Headed):
    """Five convolutions and three linear layers (Krizhevsky, Sutskever and Hinton 2012).

    The layout is the single column of Krizhevsky 2014 (https://arxiv.org/abs/1404.5997), without the local response
    normalisation that later work dropped.  The first step over the picture is scaled with its size: 4 pixels and a
    kernel of 11 from 128 pixels on, as in the paper; 2 and 7 from 64 on; 1 and 5 below.

    Parameters
    ----------
    num_classes, in_chans, img_size
        As in timm; the linear layers see every place of the last feature map, so the size is fixed.
    width
        Channels of the first layer, 64 in the paper: the size dial.  The linear layers have 64 times as many units.
    drop_rate
        Before either of the first two linear layers.

    Raises
    ------
    ValueError
        If ``img_size`` is under 32.
    """

    def __init__(
        self, num_classes: int = 10, in_chans: int = 3, img_size: int = 224, width: int = 64, drop_rate: float = 0.5
    ) -> None:
        super().__init__()
        if img_size < SMALLEST:
            raise ValueError(f"img_size is {img_size}: alexnet takes {SMALLEST} pixels or more")
        self.num_classes, self.num_features = num_classes, 64 * width
        step = 4 if img_size >= 128 else 2 if img_size >= 64 else 1
        self.features = nn.Sequential(
            *_convolution(in_chans, width, 2 * step + 3, step),
            nn.MaxPool2d(3, 2),
            *_convolution(width, 3 * width, 5),
            nn.MaxPool2d(3, 2),
            *_convolution(3 * width, 6 * width, 3),
            *_convolution(6 * width, 4 * width, 3),
            *_convolution(4 * width, 4 * width, 3),
            nn.MaxPool2d(3, 2),
        )
        side = (((img_size - 1) // step // 2 - 1) // 2 - 1) // 2  # after the first step and three poolings
        self.body = nn.Sequential(
            nn.Dropout(drop_rate),
            nn.Linear(4 * width * side * side, self.num_features),
            nn.ReLU(inplace=True),
            nn.Dropout(drop_rate),
            nn.Linear(self.num_features, self.num_features),
            nn.ReLU(inplace=True),
        )
        self.head = nn.Linear(self.num_features, num_classes)

    def forward_features(self, x: torch.Tensor) -> torch.Tensor:
        """Return the last feature map, (n, 4 * width, height, width)."""
        return self.features(x)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return logits, (n, num_classes)."""
        return self.head(self.body(self.forward_features(x).flatten(1)))


def _convolution(inputs: int, outputs: int, kernel: int, step: int = 1) -> tuple[nn.Module, nn.Module]:
    return nn.Conv2d(inputs, outputs, kernel, step, padding=kernel // 2), nn.ReLU(inplace=True)


@register_model
def alexnet(pretrained: bool = False, **options: Any) -> AlexNet:
    """Make an `AlexNet`; it has no published weights, so ``pretrained`` must be False."""
    return AlexNet(**own_options("alexnet", pretrained, options))
