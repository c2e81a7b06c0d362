"""A running mean of the weights: smoother than the last step, and often better on new pictures."""

from __future__ import annotations

import torch
from fastai.callback.core import Callback


class Average(Callback):
    """Keep the exponential moving average of the weights (Polyak and Juditsky 1992); validate and end with it.

    Parameters
    ----------
    decay
        Share of the old mean that is kept per step; reached slowly, as the first steps are worth little.
    """

    order = 55  # after the Recorder, before what saves
    run_valid = True
    resumable = ("mean", "steps")

    def __init__(self, decay: float = 0.99) -> None:
        self.decay, self.steps = decay, 0
        self.mean: list[torch.Tensor] = []

    def _weights(self) -> list[torch.Tensor]:
        """Return all that is real-valued, running statistics of normalisation among it."""
        return [value for value in self.learn.model.state_dict().values() if value.is_floating_point()]

    def after_step(self) -> None:
        """Move the mean a little towards the weights."""
        with torch.no_grad():
            if not self.mean:
                self.mean = [value.detach().clone() for value in self._weights()]
            self.steps += 1
            share = 1 - min(self.decay, (1 + self.steps) / (10 + self.steps))
            torch._foreach_lerp_(self.mean, self._weights(), share)

    def _swap(self) -> None:
        """Exchange mean and weights in place, so that the optimizer keeps its hold of the latter."""
        with torch.no_grad():
            for kept, live in zip(self.mean, self._weights(), strict=False):
                before = live.clone()
                live.copy_(kept)
                kept.copy_(before)

    def before_validate(self) -> None:
        """Judge the mean."""
        self._swap()

    def after_validate(self) -> None:
        """Train on from where the weights were."""
        self._swap()

    def after_fit(self) -> None:
        """End with the mean."""
        if not hasattr(self.learn, "lr_finder"):
            self._swap()
            self.mean, self.steps = [], 0
