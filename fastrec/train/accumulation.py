"""Several batches for one step: what a larger batch would do, in the memory of a small one."""

from __future__ import annotations

from fastai.callback.core import Callback, CancelBatchException
from fastai.callback.fp16 import MixedPrecision


class Accumulate(Callback):
    """Step once for several batches, along the mean of their losses; an epoch's last step takes what is left.

    fastai's ``GradientAccumulation`` carries what is left into the next epoch, or loses it.  Where a step begins
    follows from the batch's number, so there is nothing to remember for a training that was killed.

    Parameters
    ----------
    batches
        For one step; those of a training epoch are all of one size.
    """

    order, run_valid = MixedPrecision.order - 4, False  # before the loss is scaled, and the step with it

    def __init__(self, batches: int) -> None:
        self.batches = batches

    def after_loss(self) -> None:
        """Give the batch its share of the step."""
        begun = self.iter - self.iter % self.batches
        self.learn.loss_grad = self.loss_grad / min(self.batches, self.n_iter - begun)

    def before_step(self) -> None:
        """Let gradients gather until the step's last batch.

        Raises
        ------
        CancelBatchException
            At all batches before that; fastai goes on with the next.
        """
        done = self.iter + 1
        if done % self.batches and done < self.n_iter:
            raise CancelBatchException
