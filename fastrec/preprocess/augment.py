"""Augmentation by the batch: named parts, each with its strength, under one dial.

The geometry and lighting are those of fastai's ``aug_transforms``, draw for draw, done in fewer passes
over the memory.  All randomness comes from torch's global generator on the CPU, so that a seed repeats it
on every device.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from fastrec.files import FastrecError
from fastrec.images import PADDING
from fastrec.preprocess import tones, warping
from fastrec.preprocess.tones import Tone
from fastrec.preprocess.warping import Motion

POLICIES = ("randaugment", "trivialaugment")
GROUP = 8  # pictures that share one draw of a policy: torchvision draws once per call
_PART = 2**18  # values that are worked on at a time: they stay in the processor's cache
_CHANCE = 0.75  # that a part touches a picture, as in fastai
MAX_HUE = 90.0  # degrees at colour strength 1


@dataclass(frozen=True)
class Strengths:
    """How far each part goes at most; 0 leaves a part out.

    Attributes
    ----------
    rotation
        Degrees, to both sides.
    zoom
        Share by which a picture grows: 0.1 enlarges up to 1.1 times, about a random point.
    shift
        Share of the side by which a picture moves to all sides, in whole pixels; mirrored pixels fill what it uncovers.
    warp
        Share of half a side by which corners move apart: the picture is seen from the side.
    lighting
        Of brightness and contrast, below 1, as in fastai: on the logits of the levels.
    colour
        Of saturation (0.2: a factor of 0.8 to 1.2) and hue (0.2: up to 18 degrees to both sides).
    erase
        The probability that a rectangle of a picture becomes noise; see `fastrec.preprocess.tones.rectangles`.
    flip
        Mirror half of the pictures left to right; wrong for digits and letters.
    policy
        ``randaugment`` (Cubuk et al. 2019, https://arxiv.org/abs/1909.13719; 2 operations of magnitude 9)
        or ``trivialaugment`` (Müller and Hutter 2021, https://arxiv.org/abs/2103.10158; wide), by torchvision.
    """

    rotation: float = 0.0
    zoom: float = 0.0
    shift: float = 0.0
    warp: float = 0.0
    lighting: float = 0.0
    colour: float = 0.0
    erase: float = 0.0
    flip: bool = False
    policy: str = ""


LEVELS = {  # colour stays out of the lower ones: it tells some classes apart, such as ripe from unripe
    "none": Strengths(),
    "light": Strengths(rotation=5, zoom=0.05, lighting=0.1),
    "medium": Strengths(rotation=10, zoom=0.1, lighting=0.2, warp=0.1),
    "strong": Strengths(rotation=20, zoom=0.25, lighting=0.4, warp=0.2, colour=0.2),
    "shift": Strengths(shift=0.06),  # 2 of 32 pixels, the cheapest: with flips enough for many small photos
    "randaugment": Strengths(policy="randaugment"),
    "trivialaugment": Strengths(policy="trivialaugment"),
}


def named(level: str, flip: bool = False, erase: float = 0.0) -> Augmentation:
    """Return the augmentation that the notebooks' parameters ask for.

    Parameters
    ----------
    level
        One of `LEVELS`.
    flip, erase
        See `Strengths`; they come on top of any level.

    Raises
    ------
    FastrecError
        If the level is unknown, or ``erase`` no probability.
    """
    if level not in LEVELS:
        raise FastrecError(f"augment is {level!r}: take one of {', '.join(LEVELS)}.")
    if not 0 <= erase <= 1:
        raise FastrecError(f"erase is {erase}: take a probability, 0 to 1.")
    return Augmentation(replace(LEVELS[level], flip=flip, erase=erase))


@dataclass(frozen=True)
class Augmentation:
    """Varies whole batches, each picture by its own draw."""

    strengths: Strengths

    def __call__(
        self, pixels: Tensor, finish: Callable[[Tensor], Tensor] | None = None, mirrored: Tensor | None = None
    ) -> Tensor:
        """Return a varied batch of levels 0 to 1.

        Parameters
        ----------
        pixels
            (n, 3, side, side), uint8 levels or float levels 0 to 1; left as they are.
        finish
            What is done last to each part of the batch, in place, such as normalising.
        mirrored
            Which pictures a flip mirrors, bool (n,); else each has its own draw.

        Returns
        -------
        float32, (n, 3, side, side), channels last in memory.
        """
        motion, tone = self._motion(len(pixels), pixels.shape[-1], mirrored), self._tone(len(pixels))
        boxes = tones.rectangles(len(pixels), self.strengths.erase, pixels.shape[-1])
        if self.strengths.policy:
            pixels = by_groups(pixels, policy(self.strengths.policy))
        return apply(pixels, motion, tone, boxes, finish)

    def _motion(self, n: int, side: int, mirrored: Tensor | None) -> Motion:
        s = self.strengths
        hit = torch.empty(n).bernoulli_(0.5) if s.flip and mirrored is None else mirrored
        flip = 1 - 2 * hit.float() if s.flip and hit is not None else None
        degrees = _some(n, -s.rotation, s.rotation) if s.rotation else None
        zoom = _some(n, 1.0, 1.0 + s.zoom, 1.0) if s.zoom else None
        across, down = (torch.rand(n), torch.rand(n)) if s.zoom else (None, None)
        x, y = (_some(n, -s.warp, s.warp), _some(n, -s.warp, s.warp)) if s.warp else (None, None)
        return Motion(flip, degrees, zoom, across, down, x, y, *self._shifts(n, side))

    def _shifts(self, n: int, side: int) -> tuple[Tensor, Tensor] | tuple[None, None]:
        if not self.strengths.shift:
            return None, None
        most = max(1, round(self.strengths.shift * side))
        across, down = torch.randint(-most, most + 1, (2, n)) / side
        return across, down

    def _tone(self, n: int) -> Tone:
        light, colour = self.strengths.lighting, self.strengths.colour
        brightness = contrast = saturation = hue = None
        if light:
            brightness = _some(n, 0.5 * (1 - light), 0.5 * (1 + light), 0.5)
            widest = -torch.log1p(torch.tensor(-light)).item()
            contrast = _some(n, -widest, widest).exp()
        if colour:
            saturation = _some(n, 1 - colour, 1 + colour, 1.0)
            hue = _some(n, -MAX_HUE * colour, MAX_HUE * colour)
        return Tone(brightness, contrast, saturation, hue)


def _some(n: int, low: float, high: float, neutral: float = 0.0) -> Tensor:
    """Draw a value for each of n pictures, which three in four get; the others get the neutral one."""
    drawn = torch.empty(n).uniform_(low, high)
    return torch.where(torch.empty(n).bernoulli_(_CHANCE).bool(), drawn, neutral)


def apply(
    pixels: Tensor,
    motion: Motion,
    tone: Tone,
    boxes: list[list[int]],
    finish: Callable[[Tensor], Tensor] | None = None,
) -> Tensor:
    """Do what was drawn, a few pictures at a time; in and out as in :meth:`Augmentation.__call__`."""
    count, device = len(pixels), pixels.device
    if motion.shift_x is not None or (motion.flip is not None and not motion.resamples):
        pixels, motion = warping.slide(pixels, motion), replace(motion, flip=None, shift_x=None, shift_y=None)
    at_once = count if device.type == "cuda" else max(1, _PART // pixels[0].numel())
    tone = tone if pixels.shape[1] == 3 else replace(tone, saturation=None, hue=None)  # grey has no colour to vary
    steps = _steps(motion, tone, count, device)
    made = torch.empty_like(pixels, dtype=torch.float32, memory_format=torch.channels_last)
    for start in range(0, count, at_once):
        where = slice(start, start + at_once)
        part = _unit(pixels[where])
        for step in steps:
            part = step(part, where)
        part = tones.erase(part, [[k - start, *box] for k, *box in boxes if start <= k < start + at_once])
        made[where] = part if finish is None else finish(part)
    return made


def _steps(motion: Motion, tone: Tone, n: int, device: torch.device) -> list[Callable[[Tensor, slice], Tensor]]:
    """Return what happens to a part of the batch, in order; what was drawn goes to the device once."""
    steps: list[Callable[[Tensor, slice], Tensor]] = []
    if motion.resamples:
        matrices, flat = motion.matrices(n).to(device), motion.warp_x is None
        steps.append(lambda part, where: warping.move(part, matrices[where], flat))
    if tone.brightness is not None and tone.contrast is not None:
        bright, contrast = tone.brightness.to(device), tone.contrast.to(device)
        steps.append(lambda part, where: tones.light(part, bright[where], contrast[where]))
    if tone.saturation is not None and tone.hue is not None:
        mixes = tones.colour_matrices(tone.saturation, tone.hue).to(device)
        steps.append(lambda part, where: tones.tint(part, mixes[where]))
    return steps


def _unit(pixels: Tensor) -> Tensor:
    """Return a copy as float levels 0 to 1."""
    return pixels.float().div_(255) if pixels.dtype == torch.uint8 else pixels.clone()


def policy(name: str, **options: Any) -> Callable[[Tensor], Tensor]:
    """Return torchvision's automatic policy of a name; what it uncovers is grey."""
    from torchvision.transforms import v2

    made: Any = {"randaugment": v2.RandAugment, "trivialaugment": v2.TrivialAugmentWide}[name]
    return made(interpolation=v2.InterpolationMode.BILINEAR, fill=float(PADDING), **options)


def by_groups(pixels: Tensor, act: Callable[[Tensor], Tensor]) -> Tensor:
    """Give each group of `GROUP` pictures a draw of its own; which pictures meet, the loader's shuffling decides."""
    levels = pixels if pixels.dtype == torch.uint8 else pixels.mul(255).round_().byte()
    return torch.cat([act(part) for part in levels.split(GROUP)])
