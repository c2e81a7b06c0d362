"""Where pixels go: flips and shifts of whole pixels; rotation, zoom and perspective of a batch in one resampling."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional


@dataclass(frozen=True)
class Motion:
    """How each picture of a batch moves; every field is a tensor (n,), and what is None does not happen.

    Attributes
    ----------
    flip
        1 keeps, -1 mirrors left to right.
    degrees
        Of rotation about the centre.
    zoom, across, down
        The factor, and the point that stays where it is: 0 is the left or upper border, 1 the other.
    warp_x, warp_y
        How far the corners go apart, in halves of the side: the picture is seen from the side.
    shift_x, shift_y
        Shares of the side by which it moves right and down, before all else, rounded to whole pixels; below 1.
    """

    flip: Tensor | None = None
    degrees: Tensor | None = None
    zoom: Tensor | None = None
    across: Tensor | None = None
    down: Tensor | None = None
    warp_x: Tensor | None = None
    warp_y: Tensor | None = None
    shift_x: Tensor | None = None
    shift_y: Tensor | None = None

    @property
    def resamples(self) -> bool:
        """Say whether pixels end up between pixels: a flip alone only swaps them."""
        return any(part is not None for part in (self.degrees, self.zoom, self.warp_x))

    def matrices(self, n: int) -> Tensor:
        """Return what maps each place of the result to its source: homogeneous (n, 3, 3), on the scale -1 to 1."""
        found = _unmoved(n)  # NumPy's operations on so few numbers cost a tenth of torch's
        if self.flip is not None:
            found[:, 0, 0] = self.flip
        if self.degrees is not None:
            found = found @ _rotation(np.deg2rad(self.degrees.numpy()))
        if self.zoom is not None and self.across is not None and self.down is not None:
            found = found @ _zoom(1 / self.zoom.numpy(), self.across.numpy(), self.down.numpy())
        if self.warp_x is not None and self.warp_y is not None:
            found = _perspective(self.warp_x.numpy(), self.warp_y.numpy()) @ found
        return torch.from_numpy(found)


def slide(pixels: Tensor, motion: Motion) -> Tensor:
    """Flip and shift by whole pixels, without loss; the picture mirrored at its border fills what is uncovered.

    Parameters
    ----------
    pixels
        Of any type, (n, channels, side, side); left as they are.  The result is channels last in memory.
    motion
        Its ``flip``, ``shift_x`` and ``shift_y`` alone are done.
    """
    (count, channels, side), device = pixels.shape[:3], pixels.device
    rows = _sources(motion.shift_y, count, side).to(device)
    columns = _sources(motion.shift_x, count, side).to(device)
    if motion.flip is not None:
        columns = torch.where(motion.flip.to(device).view(-1, 1) < 0, columns.flip(1), columns)
    pictures = torch.arange(count, device=device).view(-1, 1, 1)
    places = (pictures * side + rows.unsqueeze(2)) * side + columns.unsqueeze(1)
    moved = pixels.permute(0, 2, 3, 1).reshape(-1, channels).index_select(0, places.flatten())
    return moved.view(count, side, side, channels).permute(0, 3, 1, 2)


def _sources(shift: Tensor | None, count: int, side: int) -> Tensor:
    """Return (n, side): from which place along a side each place of the result comes."""
    places = torch.arange(side).expand(count, side)
    if shift is None:
        return places
    places = (places - (shift * side).round().long().view(-1, 1)).abs()
    return torch.where(places < side, places, 2 * (side - 1) - places)


def _unmoved(n: int) -> np.ndarray:
    return np.tile(np.eye(3, dtype=np.float32), (n, 1, 1))


def _rotation(angle: np.ndarray) -> np.ndarray:
    made = _unmoved(len(angle))
    made[:, 0, 0] = made[:, 1, 1] = np.cos(angle)
    made[:, 0, 1] = np.sin(angle)
    made[:, 1, 0] = -made[:, 0, 1]
    return made


def _zoom(scale: np.ndarray, across: np.ndarray, down: np.ndarray) -> np.ndarray:
    made = _unmoved(len(scale))
    made[:, 0, 0] = made[:, 1, 1] = scale
    made[:, 0, 2] = (1 - scale) * (2 * across - 1)
    made[:, 1, 2] = (1 - scale) * (2 * down - 1)
    return made


def _perspective(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Return the projective maps (n, 3, 3) of fastai's ``Warp``, whose four corners give these equations."""
    made, both = _unmoved(len(x)), 2 * x * y / (1 - x * x - y * y)
    made[:, 0, 1] = made[:, 1, 0] = both
    made[:, 0, 2] = made[:, 2, 0] = -(x + y * both)
    made[:, 1, 2] = made[:, 2, 1] = -(y + x * both)
    return made


def move(pixels: Tensor, matrices: Tensor, flat: bool) -> Tensor:
    """Resample square pictures bilinearly, repeating the border where a place lies outside.

    Parameters
    ----------
    pixels
        float, (n, channels, side, side).
    matrices
        From :meth:`Motion.matrices`, on the same device.
    flat
        Nothing is seen from the side: the third row of every matrix is 0, 0, 1.
    """
    count, side = len(pixels), pixels.shape[-1]
    line = torch.linspace(-1, 1, side, device=pixels.device)
    # Each coordinate is a part by column plus a part by row: far less work than a matrix product for every pixel.
    parts = [(m[:, :1, None] * line, (m[:, 1:2] * line + m[:, 2:])[:, :, None]) for m in matrices.unbind(1)]
    grid = torch.empty(count, side, side, 2, device=pixels.device)
    for axis in (0, 1):
        torch.add(*parts[axis], out=grid[..., axis])
    if not flat:
        grid /= torch.add(*parts[2]).unsqueeze(-1)
    return functional.grid_sample(pixels, grid, "bilinear", "border", align_corners=True)
