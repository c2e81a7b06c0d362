"""What colour pixels have: lighting, colour and erased rectangles of a whole batch."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

_TO_YIQ = torch.tensor([[0.299, 0.587, 0.114], [0.596, -0.274, -0.322], [0.211, -0.523, 0.312]])
_EPSILON = 1e-7  # black and white have no logit


@dataclass(frozen=True)
class Tone:
    """How the levels of each picture change; every field is a tensor (n,), and what is None does not happen.

    Attributes
    ----------
    brightness
        What a middle grey becomes, 0 to 1: 0.5 keeps.
    contrast
        A factor: 1 keeps, 0 makes all grey.
    saturation, hue
        A factor, 1 keeps; an angle in degrees on the colour wheel, 0 keeps.
    """

    brightness: Tensor | None = None
    contrast: Tensor | None = None
    saturation: Tensor | None = None
    hue: Tensor | None = None


def light(pixels: Tensor, brightness: Tensor, contrast: Tensor) -> Tensor:
    """Shift and stretch the logits of levels 0 to 1 in place, as fastai does: none leaves its range."""
    shift, factor = (part.view(-1, 1, 1, 1) for part in (torch.logit(brightness), contrast))
    return pixels.logit_(eps=_EPSILON).add_(shift).mul_(factor).sigmoid_()


def colour_matrices(saturation: Tensor, hue: Tensor) -> Tensor:
    """Return matrices (n, 3, 3) that scale and turn the two colour axes of YIQ and keep the luma."""
    angle = hue * (math.pi / 180)
    turn = torch.zeros(len(hue), 3, 3)
    turn[:, 0, 0] = 1
    turn[:, 1, 1] = turn[:, 2, 2] = saturation * angle.cos()
    turn[:, 2, 1] = saturation * angle.sin()
    turn[:, 1, 2] = -turn[:, 2, 1]
    return torch.linalg.inv(_TO_YIQ) @ turn @ _TO_YIQ


def tint(pixels: Tensor, matrices: Tensor) -> Tensor:
    """Mix the three channels (n, 3, h, w) of levels 0 to 1 by matrices (n, 3, 3), and cut what leaves the range."""
    return torch.bmm(matrices, pixels.flatten(2)).view_as(pixels).clamp_(0, 1)


def rectangles(n: int, probability: float, side: int, area: tuple[float, float] = (0.02, 0.33)) -> list[list[int]]:
    """Draw what to erase: picture, top, left, height and width, for about ``probability`` of n square pictures.

    Random erasing (Zhong et al. 2017, https://arxiv.org/abs/1708.04896), with its shares of the area and
    its aspect ratios of 0.3 to 3.3; a rectangle that does not fit is cut to the picture's side.
    """
    if probability <= 0:
        return []
    hit, share, ratio, top, left = torch.rand(5, n)
    pixels = (area[0] + (area[1] - area[0]) * share) * side * side
    aspect = (math.log(0.3) + (math.log(3.3) - math.log(0.3)) * ratio).exp()
    height = (pixels * aspect).sqrt().round().clamp(1, side)
    width = (pixels / aspect).sqrt().round().clamp(1, side)
    places = [(top * (side - height + 1)).floor(), (left * (side - width + 1)).floor(), height, width]
    found = torch.stack([torch.arange(n).float(), *places], 1)[hit < probability]
    return found.int().tolist()


def erase(pixels: Tensor, boxes: list[list[int]]) -> Tensor:
    """Fill each rectangle with noise of levels 0 to 1, in place: the paper's best filling."""
    for k, top, left, height, width in boxes:
        noise = torch.rand(pixels.shape[1], height, width)
        pixels[k, :, top : top + height, left : left + width] = noise.to(pixels.device)
    return pixels
