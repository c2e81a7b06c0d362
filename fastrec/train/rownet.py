"""``rownet``: a recurrent network that reads an image row by row, as one reads a page."""

from __future__ import annotations

from typing import Any

import torch
from timm.models import register_model
from torch import nn

from fastrec.train.headed import Headed, own_options

_CELLS = {"lstm": nn.LSTM, "gru": nn.GRU}


class RowNet(Headed):
    """Rows of pixels, in both directions, through an LSTM (Hochreiter and Schmidhuber 1997) or GRU (Cho et al. 2014).

    Parameters
    ----------
    num_classes, in_chans, img_size, drop_rate
        As in timm; the width of an image is the length of what a cell sees at a time, so it is fixed.
    hidden
        Units per direction: the size dial.
    layers
        Recurrent layers on top of each other.
    cell
        ``lstm`` or ``gru``.
    """

    def __init__(
        self,
        num_classes: int = 10,
        in_chans: int = 3,
        img_size: int = 32,
        hidden: int = 128,
        layers: int = 2,
        cell: str = "lstm",
        drop_rate: float = 0.0,
    ) -> None:
        super().__init__()
        if cell not in _CELLS:
            raise TypeError(f"cell is {cell!r}: take {' or '.join(_CELLS)}")
        self.num_classes, self.num_features = num_classes, 2 * hidden
        dropout = drop_rate if layers > 1 else 0.0
        self.rows = _CELLS[cell](
            in_chans * img_size, hidden, layers, batch_first=True, bidirectional=True, dropout=dropout
        )
        self.norm = nn.LayerNorm(2 * hidden)
        self.drop = nn.Dropout(drop_rate)
        self.head = nn.Linear(2 * hidden, num_classes)

    def forward_features(self, x: torch.Tensor) -> torch.Tensor:
        """Return what was read at each row, (n, height, 2 * hidden)."""
        return self.rows(x.permute(0, 2, 1, 3).flatten(2))[0]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return logits, (n, num_classes), from the mean over the rows."""
        return self.head(self.drop(self.norm(self.forward_features(x).mean(1))))


@register_model
def rownet(pretrained: bool = False, **options: Any) -> RowNet:
    """Make a `RowNet`; it has no published weights, so ``pretrained`` must be False."""
    return RowNet(**own_options("rownet", pretrained, options))
