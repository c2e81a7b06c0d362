"""The epoch with the lowest valid loss: keep its weights, and end where the loss falls no more."""

from __future__ import annotations

import math

import torch
from fastai.callback.core import Callback, CancelFitException


class LowestLoss(Callback):
    """Follow the valid loss over all phases of a training.

    Parameters
    ----------
    restore
        End each fit with the weights of the best epoch so far.
    patience
        End a fit after so many epochs without a lower loss (Prechelt 1998); 0 never.  Epochs in which some layers
        are still frozen do not count: what comes then may well bring progress.
    """

    order = 99  # ends the fit after all others saw the epoch, but for what saves
    resumable = ("lowest", "weights", "waited")

    def __init__(self, restore: bool = True, patience: int = 0) -> None:
        self.restore, self.patience = restore, patience
        self.lowest, self.waited, self.trained = math.inf, 0, False
        self.weights: dict[str, torch.Tensor] = {}

    def before_train(self) -> None:
        """Note that this is no bare validation."""
        self.trained = not hasattr(self.learn, "lr_finder")

    def after_epoch(self) -> None:
        """Compare the epoch with the best one.

        Raises
        ------
        CancelFitException
            If patience is at its end; fastai ends the fit then.
        """
        if not self.trained:
            return
        loss = float(self.recorder.values[-1][self.recorder.metric_names[1:].index("valid_loss")])
        if loss < self.lowest:
            self.lowest, self.waited = loss, 0
            self._take()
        elif not self.opt.frozen_idx:
            self.waited += 1
            if self.waited == self.patience:
                print(f"the valid loss has not fallen for {self.waited} epochs: training ends after {self.epoch + 1}.")
                raise CancelFitException

    def _take(self) -> None:
        if self.restore:
            self.weights = {name: value.detach().clone() for name, value in self.model.state_dict().items()}

    def after_fit(self) -> None:
        """Go back to the best epoch; a bare validation and the finder change nothing."""
        if self.trained and self.weights:
            self.model.load_state_dict(self.weights)
        self.trained = False
