"""Stop before a step that would ruin the weights: fastai alone would end quietly with stale or broken ones."""

from __future__ import annotations

import math

import torch
from fastai.callback.core import Callback
from fastai.callback.fp16 import MixedPrecision

from fastrec import files
from fastrec.files import FastrecError

LISTED = "bad_batch.txt"  # below the learner's folder: the pictures of the step that was not taken


class StopAtNaN(Callback):
    """End training at the first step whose loss or gradient is not finite; the weights stay the last finite ones.

    Parameters
    ----------
    clip
        The largest norm of all gradients together; longer ones are shortened to it (Pascanu et al. 2013,
        https://arxiv.org/abs/1211.5063).  0 leaves them.
    """

    order = MixedPrecision.order + 1  # gradients have their own scale again, and those of several batches are added

    def __init__(self, clip: float = 0.0) -> None:
        self.clip = clip

    def after_loss(self) -> None:
        """Check the loss before anything is made of it."""
        loss = self.learn.loss.item()
        if self.training and not math.isfinite(loss):
            self._stop(f"the loss became {loss}")

    def before_step(self) -> None:
        """Check the gradients before they reach the weights, and clip them."""
        weights = [one for group in self.opt.param_lists for one in group if one.grad is not None]
        norm = torch.nn.utils.get_total_norm([one.grad for one in weights])
        if not math.isfinite(norm.item()):
            self._stop("the gradient became infinite")
        if self.clip:
            torch.nn.utils.clip_grads_with_norm_(weights, self.clip, norm)

    def _stop(self, what: str) -> None:
        if hasattr(self.learn, "lr_finder"):  # which goes on until the loss explodes, and undoes it
            return
        names = list(self.dls.image_ids[self.dls.train.latest])
        files.write_text(self.learn.path / LISTED, "\n".join(names) + "\n")
        rate = self.opt.hypers[-1]["lr"]
        raise FastrecError(
            f"{what} at epoch {self.epoch}, step {self.iter}, learning rate {rate:.2g}: take a smaller learning_rate, "
            f"or look at the batch's {len(names)} pictures, whose image_ids are in {self.learn.path / LISTED}; the "
            "weights are still those of the step before."
        )
