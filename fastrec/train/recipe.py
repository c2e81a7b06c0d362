"""One training as a value: what a search varies, and what repeats it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from fastrec.files import FastrecError

CHOICES = {
    "schedule": ("one_cycle", "cosine", "flat_cos", "sgdr"),
    "unfreeze": ("at_once", "gradual"),
    "precision": ("float32", "mixed"),
    "keep": ("last", "best", "average"),
}
LOWEST = {"epochs": 1, "frozen_epochs": 0, "rate_spread": 1, "accumulate": 1, "clip": 0, "patience": 0}


@dataclass(frozen=True)
class Recipe:
    """All that a training depends on beside the data; the names are those of the notebook's parameters."""

    architecture: str = "fastnet"
    options: dict[str, Any] = field(default_factory=dict)
    pretrained: str = "none"
    seed: int = 0
    # what is seen
    batch_size: int = 64
    augment: str = "light"
    flip: bool = False
    erase: float = 0.0
    mix: str = "none"
    start_size: float = 1.0
    balance: str = "none"
    # what is minimised
    loss: str = "cross_entropy"
    label_smoothing: float = 0.0
    weight_decay: float = 0.01
    # how
    epochs: int = 20
    optimizer: str = "adamw"
    learning_rate: float = 0.01
    schedule: str = "one_cycle"
    frozen_epochs: int = 0
    unfreeze: str = "at_once"
    rate_spread: float = 1.0
    accumulate: int = 1
    clip: float = 0.0
    precision: str = "float32"
    compiled: bool = False
    # what is kept
    keep: str = "last"
    patience: int = 0

    def __post_init__(self) -> None:
        """Refuse what no training could do, before anything is computed.

        Raises
        ------
        FastrecError
            Names the field and what it may be.
        """
        for name, choices in CHOICES.items():
            if getattr(self, name) not in choices:
                raise FastrecError(f"{name} is {getattr(self, name)!r}: take one of {', '.join(choices)}.")
        for name, lowest in LOWEST.items():
            if not getattr(self, name) >= lowest:
                raise FastrecError(f"{name} is {getattr(self, name)!r}: take at least {lowest}.")

    @classmethod
    def of(cls, parameters: Mapping[str, Any], **more: Any) -> Recipe:
        """Take from a notebook's variables those that are fields of a recipe; ``more`` wins over them."""
        known = {one.name for one in fields(cls)}
        return cls(**{name: value for name, value in parameters.items() if name in known} | more)
