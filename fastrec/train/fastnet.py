"""``fastnet``: a small residual network for small images and CPUs, sized by one dial."""

from __future__ import annotations

from typing import Any

import torch
from timm.models import register_model
from torch import nn

from fastrec.train.headed import Headed, own_options


def _convolution(inputs: int, outputs: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)
    )


class _Residual(nn.Module):
    """Two convolutions beside an identity (He et al. 2016, https://arxiv.org/abs/1512.03385)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.body = nn.Sequential(_convolution(channels, channels), _convolution(channels, channels))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.body(x)


class FastNet(Headed):
    """A stem, three halvings of the image with residual blocks after two of them, and one linear layer.

    The layout is that of the ResNet-9 known from the DAWNBench CIFAR-10 entries (Page 2019), with the
    head's maximum over the image taken by ``amax``, which every ONNX runtime knows.

    Parameters
    ----------
    num_classes, in_chans, drop_rate
        As in timm.
    width
        Channels after the stem: the one dial; later stages have 2, 4 and 4 times as many.
    stem_stride
        2 or 4 for larger pictures.
    """

    def __init__(
        self, num_classes: int = 10, in_chans: int = 3, width: int = 24, drop_rate: float = 0.0, stem_stride: int = 1
    ) -> None:
        super().__init__()
        self.num_classes, self.num_features = num_classes, 4 * width
        self.stem = _convolution(in_chans, width, stem_stride)
        self.stages = nn.Sequential(
            _convolution(width, 2 * width),
            nn.MaxPool2d(2),
            _Residual(2 * width),
            _convolution(2 * width, 4 * width),
            nn.MaxPool2d(2),
            _convolution(4 * width, 4 * width),
            nn.MaxPool2d(2),
            _Residual(4 * width),
        )
        self.drop = nn.Dropout(drop_rate)
        self.head = nn.Linear(4 * width, num_classes)

    def forward_features(self, x: torch.Tensor) -> torch.Tensor:
        """Return the feature map before pooling, (n, 4 * width, height / 8, width / 8)."""
        return self.stages(self.stem(x))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return logits, (n, num_classes)."""
        return self.head(self.drop(self.forward_features(x).amax((2, 3))))


@register_model
def fastnet(pretrained: bool = False, **options: Any) -> FastNet:
    """Make a `FastNet`; it has no published weights, so ``pretrained`` must be False."""
    return FastNet(**own_options("fastnet", pretrained, options))
