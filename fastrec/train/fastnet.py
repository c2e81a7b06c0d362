"""``fastnet``: a small convolutional network that learns within minutes on a CPU, sized by one dial."""

from __future__ import annotations

from typing import Any

import torch
from timm.models import register_model
from torch import nn
from torch.nn import functional

from fastrec.train.headed import Headed, own_options

_FLOOR = 1e-2  # added to the variance of a direction, so that what hardly varies grows tenfold at most
_EMPTY = 1e-6  # share of the mean variance below which a direction is empty: the colours of grey pictures
_HEAD_SCALE = 9.0  # logits begin small


class Whitening(nn.Module):
    """Fixed filters over small patches: each principal direction of the pictures, at equal variance, and its negative.

    They are not trained, so a backward pass ends before them. Until :meth:`fit` has seen pictures they
    are the Walsh functions: sums and differences of a patch's pixels, channel by channel.

    Parameters
    ----------
    in_chans
        Channels of a picture.
    stride
        Pixels between two patches; a patch has as many a side, and at least 2.
    """

    filters: torch.Tensor
    shift: torch.Tensor

    def __init__(self, in_chans: int, stride: int) -> None:
        super().__init__()
        self.stride, self.side = stride, max(2, stride)
        directions = in_chans * self.side**2
        self.out_channels = 2 * directions
        self.register_buffer("filters", torch.zeros(self.out_channels, in_chans, self.side, self.side))
        self.register_buffer("shift", torch.zeros(self.out_channels))
        pair = torch.tensor([[1.0, 1.0], [1.0, -1.0]])
        basis = torch.eye(in_chans)
        for _ in range(2 * (self.side.bit_length() - 1)):
            basis = torch.kron(basis, pair)
        self._set(basis / self.side, torch.zeros(directions))

    def _set(self, basis: torch.Tensor, centre: torch.Tensor) -> None:
        """Take one row per direction, and what all of them are at the mean patch."""
        self.filters.copy_(torch.cat([basis, -basis]).view_as(self.filters))
        self.shift.copy_(torch.cat([-centre, centre]))

    @torch.no_grad()
    def fit(self, images: torch.Tensor) -> None:
        """Find the directions, eigenvectors of the patches' covariance, in normalised pictures (n, in_chans, h, w)."""
        patches = functional.unfold(images.float(), self.side, stride=self.stride)
        rows = patches.transpose(0, 1).flatten(1).double()
        variances, directions = torch.linalg.eigh(torch.cov(rows))
        strength = (variances + _FLOOR).rsqrt() * (variances > _EMPTY * variances.mean())
        largest = directions.gather(0, directions.abs().argmax(0, keepdim=True))
        basis = ((directions * largest.sign()) * strength).T.flip(0)  # a sign and an order of their own
        self._set(basis, basis @ rows.mean(1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the patches' parts, (n, out_channels, h', w')."""
        return functional.conv2d(x, self.filters, self.shift, self.stride)


def _norm(channels: int) -> nn.BatchNorm2d:
    """Make a normalisation whose running statistics follow quickly, as a short training needs."""
    return nn.BatchNorm2d(channels, momentum=0.4)


def _convolution(inputs: int, outputs: int) -> nn.Conv2d:
    """Make a 3 x 3 convolution that begins by handing its inputs on (https://arxiv.org/abs/1706.00388)."""
    made = nn.Conv2d(inputs, outputs, 3, padding=1, bias=False)
    nn.init.dirac_(made.weight[:inputs])
    return made


class _Stage(nn.Module):
    """Two convolutions, the first followed by a halving of the picture."""

    def __init__(self, inputs: int, outputs: int, ceil: bool = False) -> None:
        super().__init__()
        self.conv1, self.norm1 = _convolution(inputs, outputs), _norm(outputs)
        self.conv2, self.norm2 = _convolution(outputs, outputs), _norm(outputs)
        self.pool = nn.MaxPool2d(2, ceil_mode=ceil)
        self.act = nn.ReLU(inplace=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return (n, outputs, h / 2, w / 2)."""
        x = self.act(self.norm1(self.pool(self.conv1(x))))
        return self.act(self.norm2(self.conv2(x)))


class FastNet(Headed):
    """A whitening stem, three stages that halve the picture, the maximum over what is left, and one linear layer.

    The plan is airbench's (Jordan 2024, https://arxiv.org/abs/2404.00498), with ReLU, which is faster on
    a CPU and safe in eight bits, a stem that is never trained, and any size of picture.

    Parameters
    ----------
    num_classes, in_chans, drop_rate
        As in timm.
    width
        Channels of the first stage: the one dial; the two later ones have 4 times as many.
    stem_stride
        1; 2 or 4 for larger pictures, whose patches then lie side by side.
    """

    def __init__(
        self, num_classes: int = 10, in_chans: int = 3, width: int = 24, drop_rate: float = 0.0, stem_stride: int = 1
    ) -> None:
        if stem_stride not in (1, 2, 4):
            raise TypeError(f"stem_stride is {stem_stride}: take 1, 2 or 4")
        super().__init__()
        self.num_classes, self.num_features = num_classes, 4 * width
        self.stem = Whitening(in_chans, stem_stride)
        self.act = nn.ReLU(inplace=True)
        self.stages = nn.Sequential(
            _Stage(self.stem.out_channels, width),
            _Stage(width, 4 * width),
            _Stage(4 * width, 4 * width, ceil=True),  # so that 8 pixels are enough
        )
        self.drop = nn.Dropout(drop_rate)
        self.head = nn.Linear(4 * width, num_classes)

    def whiten(self, images: torch.Tensor) -> None:
        """Fit the stem to pictures (n, in_chans, height, width), normalised as in training and not augmented."""
        self.stem.fit(images)

    def forward_features(self, x: torch.Tensor) -> torch.Tensor:
        """Return the feature map before pooling, (n, 4 * width, height / 8, width / 8), over the stem's stride."""
        return self.stages(self.act(self.stem(x)))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return logits, (n, num_classes)."""
        return self.head(self.drop(self.forward_features(x).amax((2, 3)))) / _HEAD_SCALE


@register_model
def fastnet(pretrained: bool = False, **options: Any) -> FastNet:
    """Make a `FastNet`; it has no published weights, so ``pretrained`` must be False."""
    return FastNet(**own_options("fastnet", pretrained, options))
