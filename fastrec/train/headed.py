"""What timm asks of a network of ours, so that it is trained, restored and exported as any other."""

from __future__ import annotations

from typing import Any

from torch import nn


class Headed(nn.Module):
    """A network whose last layer, ``head``, takes ``num_features`` numbers to ``num_classes`` logits."""

    head: nn.Linear
    num_classes: int
    num_features: int

    def get_classifier(self) -> nn.Module:
        """Return the last layer, as timm's models do."""
        return self.head

    def reset_classifier(self, num_classes: int) -> None:
        """Replace the last layer by a fresh one for other classes."""
        self.num_classes = num_classes
        self.head = nn.Linear(self.num_features, num_classes)


def own_options(name: str, pretrained: bool, options: dict[str, Any]) -> dict[str, Any]:
    """Return timm's options without those about published weights, of which our networks have none.

    Raises
    ------
    TypeError
        If weights are asked for, as timm's own constructors do for options that do not fit.
    """
    if pretrained:
        raise TypeError(f"{name} has no weights on a hub")
    about_weights = ("pretrained_cfg", "pretrained_cfg_overlay", "cache_dir")
    return {key: value for key, value in options.items() if key not in about_weights}
