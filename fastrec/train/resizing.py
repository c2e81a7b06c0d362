"""Progressive resizing: training begins with small pictures, which cost little, and ends with those of full size."""

from __future__ import annotations

from fastai.callback.core import Callback
from fastai.data.core import DataLoaders
from torch import nn

from fastrec.files import FastrecError
from fastrec.train import architectures
from fastrec.train.recipe import Recipe

MULTIPLE = 8  # of every side but the full one: three halvings leave no odd pixel


def side(full: int, start: float, epoch: int, epochs: int) -> int:
    """Return the side of an epoch's pictures: it grows evenly from its start, and is full in the last third.

    Parameters
    ----------
    full
        The side of the cached pictures.
    start
        Its share at the first epoch.
    epoch, epochs
        The number of the epoch, from 0, and how many there are; a single one is full.
    """
    growing = epochs - -(-epochs // 3)
    if epoch >= growing:
        return full
    wanted = full * (start + (1 - start) * epoch / growing)
    return min(full, max(1, round(wanted / MULTIPLE)) * MULTIPLE)


class Growing(Callback):
    """Set the side of each epoch's training pictures; the valid split is always judged at full size.

    As in DAWNBench's entries (Howard 2018) and in EfficientNetV2 (Tan and Le 2021, https://arxiv.org/abs/2104.00298).
    The side follows from the epoch's number alone; every fit of a training grows anew.
    """

    def __init__(self, start: float) -> None:
        self.start = start

    def before_epoch(self) -> None:
        """Tell the loader."""
        self.dls.train.prepare.side = side(self.dls.size, self.start, self.epoch, self.n_epoch)

    def after_fit(self) -> None:
        """Show what comes after at full size."""
        self.dls.train.prepare.side = None


def callbacks(recipe: Recipe, network: nn.Module, dls: DataLoaders) -> list[Callback]:
    """Return what a recipe's ``start_size`` adds to a Learner of a network that is still on the CPU.

    Raises
    ------
    FastrecError
        If it is out of range, or the network cannot take one of the smaller sizes.
    """
    start = recipe.start_size
    if not 0.25 <= start <= 1:
        raise FastrecError(f"start_size is {start}: take 0.25 to 1, the share of the full side at the first epoch.")
    dls.train.prepare.side = None  # a training that was interrupted leaves its own
    if start == 1:
        return []
    for smaller in range(side(dls.size, start, 0, 3), dls.size, MULTIPLE):
        try:
            architectures.check_size(network, recipe.architecture, smaller, dls.channels)
        except FastrecError as error:
            raise FastrecError(
                f"start_size is {start}, but {recipe.architecture} made for {dls.size} pixels cannot take pictures of "
                f"{smaller}: take start_size 1, or another architecture."
            ) from error
    return [Growing(start)]
