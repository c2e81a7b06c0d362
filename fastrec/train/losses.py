"""What training minimises: cross entropy or focal loss, of one label or several, sure or shared."""

from __future__ import annotations

from abc import ABC, abstractmethod

from fastai.data.core import DataLoaders
from torch import Tensor, nn
from torch.nn import functional

from fastrec.files import FastrecError
from fastrec.train import balance
from fastrec.train.recipe import Recipe

LOSSES = ("cross_entropy", "focal")
GAMMA = 2.0  # the exponent that the focal loss's authors found best


class Loss(nn.Module, ABC):
    """What both losses are made of, and fastai asks of one.

    Parameters
    ----------
    focal
        Weigh each answer by the square of what it lacks, so that pictures which are nearly right count little
        (Lin et al. 2017, https://arxiv.org/abs/1708.02002).
    label_smoothing
        Share of the target that is spread over all answers (Szegedy et al. 2016, https://arxiv.org/abs/1512.00567).
    weights
        How much each class counts, (classes,); all the same without.
    """

    weights: Tensor | None

    def __init__(self, focal: bool = False, label_smoothing: float = 0.0, weights: Tensor | None = None) -> None:
        super().__init__()
        self.focal, self.label_smoothing, self.reduction = focal, label_smoothing, "mean"
        self.register_buffer("weights", weights)

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """Return the mean over pictures; one number for each where fastai has set ``reduction`` to none."""
        losses = self.each(*(one.as_subclass(Tensor) for one in (logits, target)))  # fastai's subclass costs time
        return losses if self.reduction == "none" else losses.mean()

    @abstractmethod
    def each(self, logits: Tensor, target: Tensor) -> Tensor:
        """Return the loss of each picture, (n,)."""


class OneLabel(Loss):
    """The loss over softmax of logits (n, classes), for class numbers (n,) or shares of the classes (n, classes)."""

    def each(self, logits: Tensor, target: Tensor) -> Tensor:
        """Return the loss of each picture: a class's weight is that of its share of the target."""
        if not self.focal:
            given = target if self.weights is None else _shares(target, logits)  # torch divides by numbers' weights
            return functional.cross_entropy(
                logits, given, self.weights, reduction="none", label_smoothing=self.label_smoothing
            )
        found = functional.log_softmax(logits, 1)
        lacking = _shares(target, logits) * (1 - found.exp()) ** GAMMA
        return -(lacking * found * (1 if self.weights is None else self.weights)).sum(1)

    def activation(self, logits: Tensor) -> Tensor:
        """Return probabilities, for fastai's ``get_preds``."""
        return logits.softmax(-1)

    def decodes(self, scores: Tensor) -> Tensor:
        """Return class numbers."""
        return scores.argmax(-1)


def _shares(target: Tensor, logits: Tensor) -> Tensor:
    if target.ndim == 2:
        return target.to(logits.dtype)
    return functional.one_hot(target, logits.shape[1]).to(logits.dtype)


class SeveralLabels(Loss):
    """The mean loss over sigmoids of logits (n, classes), for indicators (n, classes), which may be shares too."""

    def each(self, logits: Tensor, target: Tensor) -> Tensor:
        """Return the loss of each picture: a class's weight is that of its yes, a no has 1."""
        from torchvision.ops import sigmoid_focal_loss

        given = target.to(logits.dtype) * (1 - self.label_smoothing) + self.label_smoothing / 2
        if not self.focal:
            return functional.binary_cross_entropy_with_logits(
                logits, given, pos_weight=self.weights, reduction="none"
            ).mean(1)
        losses = sigmoid_focal_loss(logits, given, alpha=-1, gamma=GAMMA)
        return (losses if self.weights is None else losses * (1 + given * (self.weights - 1))).mean(1)

    def activation(self, logits: Tensor) -> Tensor:
        """Return a probability for each class, for fastai's ``get_preds``."""
        return logits.sigmoid()

    def decodes(self, scores: Tensor) -> Tensor:
        """Return which classes are at least as likely as not."""
        return scores >= 0.5


def choose(recipe: Recipe, dls: DataLoaders) -> Loss:
    """Make the loss of a recipe: its ``loss``, ``label_smoothing`` and, where ``balance`` is weights, class weights.

    Parameters
    ----------
    recipe
        See `fastrec.train.balance.class_weights` for the weights.
    dls
        From `fastrec.train.loaders.load`; the weights follow from its train pictures alone.

    Raises
    ------
    FastrecError
        If the loss is unknown, the smoothing no share, or both are asked for at once.
    """
    smoothing = recipe.label_smoothing
    if recipe.loss not in LOSSES:
        raise FastrecError(f"loss is {recipe.loss!r}: take one of {', '.join(LOSSES)}.")
    if not 0 <= smoothing < 1:
        raise FastrecError(f"label_smoothing is {smoothing}: take a share, 0 up to below 1.")
    focal = recipe.loss == "focal"
    if focal and smoothing:
        raise FastrecError(
            f"loss is focal and label_smoothing {smoothing}, but the one leaves sure answers alone and the other "
            "pulls them back: take loss cross_entropy, or label_smoothing 0."
        )
    weights = None
    if recipe.balance == "weights":
        weights = balance.class_weights(dls.train_ds.targets, len(dls.vocab)).to(dls.device)
    return (SeveralLabels if dls.multi_label else OneLabel)(focal, smoothing, weights)
