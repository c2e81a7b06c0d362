"""Pictures blended with one another while training, their labels with them: mixup and CutMix."""

from __future__ import annotations

import torch
from fastai.callback.core import Callback
from torchvision.transforms import v2

from fastrec.files import FastrecError
from fastrec.train.recipe import Recipe

ALPHA = {"mixup": 0.4, "cutmix": 1.0}  # the papers' for photos: most blends of mixup keep one picture well visible


class Mix(Callback):
    """Blend each picture of a training batch with its neighbour, in a proportion that is drawn for each step.

    The loss sees both labels by their shares.  Train figures count the picture's label of the larger share (with
    several labels: the labels of the picture of the larger share) as the true one, so a blended picture can be right.
    All is drawn from torch's generator on the CPU, which the loader seeds for each step.

    Parameters
    ----------
    way
        ``mixup`` (Zhang et al. 2018, https://arxiv.org/abs/1710.09412) adds the pictures, ``cutmix``
        (Yun et al. 2019, https://arxiv.org/abs/1905.04899) puts a rectangle of one into the other; by torchvision.
    """

    order, run_valid = 8, False  # before what casts to other precisions

    def __init__(self, way: str) -> None:
        self.way = way

    def before_fit(self) -> None:
        """Learn how many classes there are."""
        made = v2.MixUp if self.way == "mixup" else v2.CutMix
        self.blend = made(alpha=ALPHA[self.way], num_classes=len(self.dls.vocab))

    def before_batch(self) -> None:
        """Replace pictures and labels by their blends."""
        images, target = (one.as_subclass(torch.Tensor) for one in (self.x, self.y))
        images, shares = self.blend(images, target)
        self.learn.xb, self.learn.yb = (images,), (shares,)

    def after_loss(self) -> None:
        """Give the figures the label of the larger share, since they know no shares."""
        (shares,) = self.yb
        self.learn.yb = ((shares > 0.5).float() if self.dls.multi_label else shares.argmax(1),)


def callbacks(recipe: Recipe) -> list[Callback]:
    """Return what a recipe's ``mix`` adds to a Learner.

    Raises
    ------
    FastrecError
        If it is unknown.
    """
    if recipe.mix not in ("none", *ALPHA):
        raise FastrecError(f"mix is {recipe.mix!r}: take one of none, {', '.join(ALPHA)}.")
    return [] if recipe.mix == "none" else [Mix(recipe.mix)]
