"""See what augmentation does before training with it: sliders for a reader, figures for a report."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from fastrec import plots
from fastrec.collect.controls import button, live
from fastrec.preprocess import augment, tones
from fastrec.preprocess.augment import LEVELS, POLICIES, Augmentation, Strengths
from fastrec.preprocess.tones import Tone
from fastrec.preprocess.warping import Motion

if TYPE_CHECKING:
    from ipywidgets import Widget
    from matplotlib.figure import Figure

CUSTOM = "(custom)"
_SLIDERS = {
    "rotation": 45.0,
    "zoom": 0.5,
    "shift": 0.25,
    "warp": 0.5,
    "lighting": 0.9,
    "colour": 1.0,
}  # the end of each
_STEPS = {"rotation": 1.0}  # others move by 0.01: every level lies on a step, since a browser rounds to them
_ROWS, _COLUMNS, _SIDE = 3, 8, 96

Made = tuple[list[np.ndarray], list[str]]  # pictures and what is written above each
Row = tuple[Callable[[float], tuple[Motion, Tone]], tuple[float, float, float], str, str]  # and captions of both ends


def _pair(first: float, second: float) -> torch.Tensor:
    return torch.tensor([first, second])


_EXTREMES: dict[str, Row] = {
    "rotation": (lambda s: (Motion(degrees=_pair(-s, s)), Tone()), (5, 10, 20), "{0:.0f}° left", "{0:.0f}° right"),
    "zoom": (
        lambda s: (Motion(zoom=_pair(1 + s, 1 + s), across=_pair(0, 1), down=_pair(0, 1)), Tone()),
        (0.05, 0.1, 0.25),
        "{1:.2f}× at ↖",
        "{1:.2f}× at ↘",
    ),
    "shift": (
        lambda s: (Motion(shift_x=_pair(-s, s), shift_y=_pair(0, 0)), Tone()),
        (0.06, 0.12, 0.24),
        "{0:.0%} left",
        "{0:.0%} right",
    ),
    "warp": (
        lambda s: (Motion(warp_x=_pair(s, 0), warp_y=_pair(0, s)), Tone()),
        (0.05, 0.1, 0.2),
        "{0:.2f} across",
        "{0:.2f} down",
    ),
    "lighting\n(brightness,\ncontrast)": (
        lambda s: (Motion(), Tone(brightness=_pair(0.5 - s / 2, 0.5 + s / 2), contrast=_pair(1 / (1 - s), 1 - s))),
        (0.1, 0.2, 0.4),
        "{0:.1f} darker",
        "{0:.1f} brighter",
    ),
    "colour\n(saturation,\nhue)": (
        lambda s: (Motion(), Tone(saturation=_pair(1 - s, 1 + s), hue=_pair(-s, s) * augment.MAX_HUE)),
        (0.1, 0.2, 0.4),
        "{0:.1f} paler",
        "{0:.1f} richer",
    ),
}


def explore(pictures: np.ndarray) -> Widget | Figure:
    """Show augmentation on pictures (n, side, side, 3) of the set: with sliders to a reader, else as :func:`parts`."""
    return _Explorer(pictures).panel if live() else parts(pictures)


def parts(pictures: np.ndarray, seed: int = 0) -> Figure:
    """Draw a row for each part of augmentation: a picture as it is, then both ends of three strengths."""
    rows: list[tuple[str, list[np.ndarray], list[str]]] = []
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for number, (name, make) in enumerate(_rows().items()):
            picture = pictures[number % len(pictures)]
            shown, titles = make(torch.from_numpy(np.stack([picture] * 2)).permute(0, 3, 1, 2))
            rows.append((name, [picture, *shown], ["original", *titles]))
    return plots.image_rows(rows)


def _rows() -> dict[str, Callable[[torch.Tensor], Made]]:
    """Return how each row is made of two copies of a picture."""
    ends = {name: partial(_ends, extremes) for name, extremes in _EXTREMES.items()}
    return {"flip": _flipped, **ends, "erase": _erased, **{name: partial(_automatic, name) for name in POLICIES}}


def _flipped(copies: torch.Tensor) -> Made:
    return _shown(augment.apply(copies[:1], Motion(flip=torch.tensor([-1.0])), Tone(), [])), ["mirrored"]


def _ends(row: Row, copies: torch.Tensor) -> Made:
    make, strengths, low, high = row
    shown: list[np.ndarray] = []
    for strength in strengths:
        shown += _shown(augment.apply(copies, *make(strength), []))
    return shown, [text.format(strength, 1 + strength) for strength in strengths for text in (low, high)]


def _erased(copies: torch.Tensor) -> Made:
    shown: list[np.ndarray] = []
    for share in (0.05, 0.15, 0.3):
        boxes = tones.rectangles(2, 1.0, copies.shape[-1], (share, share))
        shown += _shown(augment.apply(copies, Motion(), Tone(), boxes))
    return shown, [f"{share} % of area" for share in (5, 5, 15, 15, 30, 30)]


def _automatic(name: str, copies: torch.Tensor) -> Made:
    """Draw a policy anew for each picture: RandAugment by magnitude, TrivialAugment at those that it draws itself."""
    given: list[dict[str, Any]] = (
        [{}] * 6 if name == "trivialaugment" else [{"magnitude": m} for m in (5, 5, 9, 9, 14, 14)]
    )
    shown: list[np.ndarray] = []
    for options in given:
        shown += _shown(augment.policy(name, **options)(copies[:1]).float() / 255)
    return shown, [
        f"magnitude {options['magnitude']}" if options else f"draw {k + 1}" for k, options in enumerate(given)
    ]


def _shown(batch: torch.Tensor) -> list[np.ndarray]:
    return list((batch.clamp(0, 1) * 255).round().byte().permute(0, 2, 3, 1).numpy())


def varied(picture: np.ndarray, augmentation: Augmentation, n: int, seed: int) -> list[np.ndarray]:
    """Return n variants, uint8 (side, side, 3), as training would see a picture; torch's generator stays as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        batch = torch.from_numpy(np.stack([picture] * n)).permute(0, 3, 1, 2)
        if not augmentation.strengths.policy:
            return _shown(augmentation(batch))
        return [_shown(augmentation(one))[0] for one in batch.split(1)]  # in training others share a group's draw


def levels(picture: np.ndarray, flip: bool = False, erase: float = 0.0, variants: int = 4, seed: int = 0) -> Figure:
    """Draw a row for each level but policies: a picture (side, side, 3) as it is, then as training would see it."""
    shown = [name for name, strengths in LEVELS.items() if strengths != Strengths() and not strengths.policy]
    made = [varied(picture, augment.named(name, flip, erase), variants, seed) for name in shown]
    return plots.image_rows([(name, [picture, *row], ["original"]) for name, row in zip(shown, made, strict=True)])


class _Explorer:
    """A level or a strength for each part, a picture of the set, and its variants, the original first."""

    def __init__(self, pictures: np.ndarray) -> None:
        import ipywidgets as w

        self.pictures, self.seed, self.setting = pictures, 0, False
        self.level = w.Dropdown(options=[*LEVELS, CUSTOM], value="light", description="augment")
        self.number = w.IntSlider(min=1, max=len(pictures), description="picture")
        self.flip = w.Checkbox(description="flip", indent=False, layout=w.Layout(width="70px"))
        self.sliders = {
            name: w.FloatSlider(min=0, max=end, step=_STEPS.get(name, 0.01), description=name)
            for name, end in _SLIDERS.items()
        }
        self.erase = w.FloatSlider(min=0, max=1, step=0.05, description="erase")
        self.note, self.picture = w.HTML(), w.Image(format="png")
        boxes = [*self.sliders.values(), self.erase]
        self.panel = w.VBox(
            [
                w.HBox([self.level, self.number, self.flip, button("again", self.again, "info", "draw anew")]),
                w.HBox([w.VBox(boxes[:3]), w.VBox(boxes[3:])]),
                self.note,
                self.picture,
            ]
        )
        self.level.observe(self.choose, "value")
        for slider in self.sliders.values():
            slider.observe(self.customise, "value")
        for control in (self.number, self.flip, self.erase):
            control.observe(self.draw, "value")
        self.choose()

    def again(self) -> None:
        """Draw with other random numbers."""
        self.seed += 1
        self.draw()

    def choose(self, _: object = None) -> None:
        """Set the sliders as the level does; a policy has none of its own."""
        if self.level.value != CUSTOM:
            self.setting = True
            for name, slider in self.sliders.items():
                slider.value = getattr(LEVELS[self.level.value], name)
                slider.disabled = self.level.value in POLICIES
            self.setting = False
        self.draw()

    def customise(self, _: object = None) -> None:
        """Leave the level that the sliders showed; a browser's echo of what was set is no change."""
        if not self.setting and self._given() != self._of_level():
            self.level.value = CUSTOM
            self.draw()

    def strengths(self) -> Strengths:
        """Return what the controls say."""
        chosen = Strengths(**self._given()) if self.level.value == CUSTOM else LEVELS[self.level.value]
        return replace(chosen, flip=self.flip.value, erase=self.erase.value)

    def _given(self) -> dict[str, Any]:
        return {name: round(slider.value, 2) for name, slider in self.sliders.items()}

    def _of_level(self) -> dict[str, Any]:
        level = LEVELS.get(self.level.value)
        return {name: getattr(level, name, None) for name in self.sliders}

    def draw(self, _: object = None) -> None:
        """Show the picture and its variants."""
        strengths, original = self.strengths(), self.pictures[self.number.value - 1]
        shown = varied(original, Augmentation(strengths), _ROWS * _COLUMNS - 1, self.seed)
        self.picture.value = plots.png(_tiles([original, *shown]))
        level = self.level.value
        told = strengths if level == CUSTOM else f"augment={level!r}, flip={strengths.flip}, erase={strengths.erase:g}"
        self.note.value = f"<code>{escape(str(told))}</code>; the framed picture is the original"


def _tiles(pictures: list[np.ndarray]) -> np.ndarray:
    """Lay pictures out in rows, small ones with large pixels, the first in a frame."""
    times = max(1, _SIDE // pictures[0].shape[0])
    coloured = [np.broadcast_to(p, (*p.shape[:2], 3)).repeat(times, 0).repeat(times, 1) for p in pictures]
    tiles = [np.pad(p, ((3, 3), (3, 3), (0, 0)), constant_values=255) for p in coloured]
    frame = np.array([int(plots.ORANGE[k : k + 2], 16) for k in (1, 3, 5)], np.uint8)
    for edge in (np.s_[:3], np.s_[-3:], np.s_[:, :3], np.s_[:, -3:]):
        tiles[0][edge] = frame
    return np.concatenate([np.concatenate(tiles[k : k + _COLUMNS], 1) for k in range(0, len(tiles), _COLUMNS)])
