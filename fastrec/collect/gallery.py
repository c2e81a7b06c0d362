"""The audit in pictures: each kind of issue with examples, pairs side by side."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from PIL import Image

from fastrec import images, plots
from fastrec.artefacts import REJECTED
from fastrec.collect import duplicates
from fastrec.run import Run

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SHOWN = 6  # pictures in a row
SIDE = 96  # of a picture, in pixels
MOST_ROWS = 16
MEANING = {
    "near_copy": "nearly the same picture: on one side of every split, unless the source parts them",
    "near_copy_two_labels": "nearly the same picture under two labels: one may be wrong",
    "label_conflict": "the same file under two labels: left out until one is removed",
    "label_error": "a model that did not learn from it says something else",
    "dark": "hardly anything in it is bright",
    "bright": "washed out, hardly anything in it is dark",
    "blurred": "no fine detail",
    "nearly_constant": "one colour",
    "odd_size": "far larger or smaller than the others",
    "mended": "decoded, but something in the file is odd",
    "imbalance": "some class has many times fewer pictures",
    "label_typo": "two classes may be one",
    "shortcut": "the file tells the class without a look at the picture",
}
PAIRS = ("near_copy", "near_copy_two_labels", "label_conflict")
_WORST_IS_MOST = ("bright", "label_error")  # of the others the worst have the smallest value
_TEXT, _CELL, _GAP = 2.05, 1.08, 0.14  # inches: the words on the left, a picture's place, and after each pair
_HIGH = 1.52  # a row with pictures


@dataclass
class _Row:
    """One kind of issue: how often, what it says of the whole set, and examples as pictures and captions."""

    issue: str
    count: int
    told: list[str] = field(default_factory=list)
    pictures: list[tuple[np.ndarray, str]] = field(default_factory=list)

    @property
    def pairs(self) -> bool:
        """Whether each two pictures belong together."""
        return self.issue in PAIRS


def issues_grid(run: Run, manifest: pd.DataFrame, quality: pd.DataFrame) -> Figure | str:
    """Draw one row per kind of issue with up to six pictures, the worst first; near copies in pairs.

    Parameters
    ----------
    run
        Knows where the pictures lie; its refused files show the same picture under two labels.
    manifest, quality
        The tables MANIFEST and QUALITY.
    """
    known = manifest.drop_duplicates("image_id").set_index("image_id")
    rows = [_row(run, known, str(issue), table) for issue, table in quality.groupby("issue")]
    rows += _conflicts(run)
    if not rows:
        return "Nothing looks wrong."
    order = list(MEANING)
    return _draw(sorted(rows, key=lambda row: order.index(row.issue) if row.issue in order else len(order))[:MOST_ROWS])


def _row(run: Run, known: pd.DataFrame, issue: str, table: pd.DataFrame) -> _Row:
    table = table[table["image_id"].isna() | table["image_id"].isin(known.index)]
    if table["image_id"].isna().all():
        return _Row(issue, len(table), told=list(table["message"][:3]))
    chosen = _worst(issue, table)
    names = [name for pair in zip(chosen["image_id"], chosen["other_id"], strict=True) for name in pair]
    names = names if issue in PAIRS else list(chosen["image_id"])
    shown = [known.loc[name] for name in names if name in known.index][:SHOWN]
    return _Row(issue, len(table), pictures=[(_picture(run, row["path"], row["box"]), _caption(row)) for row in shown])


def _worst(issue: str, table: pd.DataFrame) -> pd.DataFrame:
    badness = table["value"].astype(float)
    if issue == "odd_size":
        badness = -badness.map(np.log).abs()
    elif issue in _WORST_IS_MOST:
        badness = -badness
    ranked = table.assign(badness=badness).sort_values(["badness", "image_id"])
    if issue == "mended":  # one of each kind before a second of any
        ranked = ranked.assign(kind=ranked["message"].str.rpartition(": ")[2])
        ranked = ranked.assign(turn=ranked.groupby("kind").cumcount()).sort_values(["turn", "kind"], kind="stable")
    if issue in PAIRS:  # and one pair of those that all show the same
        ranked = ranked[~ranked["image_id"].map(duplicates.clusters(table)).duplicated()]
    return ranked.head(SHOWN)


def _conflicts(run: Run) -> Iterator[_Row]:
    if not run.has(REJECTED):
        return
    table = run.read(REJECTED)
    table = table[table["code"] == "label_conflict"].sort_values(["message", "path"])
    if len(table):
        shown = table[table.groupby("message").cumcount() < 2].head(SHOWN)["path"]
        pictures = [(_picture(run, path, None), _address(path)) for path in shown]
        yield _Row("label_conflict", table["message"].nunique(), pictures=pictures)


def _picture(run: Run, path: str, box: Any) -> np.ndarray:
    """Return a small version with its own proportions; plain grey for a file that has gone or changed."""
    try:
        pixels = images.crop(images.decode(images.read_bytes(run.locate(path))).pixels, box)
    except images.ImageError:
        return np.full((SIDE, SIDE, 3), 225, np.uint8)
    small = Image.fromarray(np.ascontiguousarray(pixels))
    small.thumbnail((SIDE, SIDE))
    return np.asarray(small)


def _caption(row: pd.Series) -> str:
    label, name = " + ".join(row["labels"]), PurePosixPath(row["path"]).name
    return f"{plots.plain(label, 17)}\n{_ends(name)}\n{row['width']}x{row['height']}"


def _address(path: str) -> str:
    *_, folder, name = ("", *PurePosixPath(path).parts)
    return f"{_ends(folder)}\n{_ends(name)}"


def _ends(name: str, longest: int = 17) -> str:
    """Cut a name in its middle: what tells files apart stands at both ends."""
    half = longest // 2
    return plots.plain(name if len(name) <= longest else f"{name[:half]}…{name[-half:]}", longest)


def _draw(rows: list[_Row]) -> Figure:
    """Draw all on one axis that counts in inches, so that text and pictures stand where they are put."""
    heights = [_HIGH if row.pictures else max(0.68, 0.25 + 0.155 * len(_wrapped(row.told))) for row in rows]
    size = (_TEXT + SHOWN * _CELL + 2 * _GAP, sum(heights))
    with plots.canvas(size=size) as (figure, axis):
        for row, top in zip(rows, np.cumsum([0.0, *heights[:-1]]), strict=True):
            _write(axis, row, top)
            for k, (picture, caption) in enumerate(row.pictures):
                scale = 1.0 if row.issue == "odd_size" else SIDE / max(picture.shape[:2])
                _place(axis, picture, caption, _TEXT + k * _CELL + row.pairs * (k // 2) * _GAP, top, scale)
        figure.set_layout_engine("none")
        axis.set(position=(0, 0, 1, 1), xlim=(-0.06, size[0]), ylim=(size[1], 0), aspect="equal")
        axis.axis("off")
        return figure


def _write(axis: Any, row: _Row, top: float) -> None:
    """Write what the row is about, and what it says of the whole set."""
    axis.axhline(top, color=plots.GREY, linewidth=0.5)
    axis.text(0, top + 0.08, row.issue.replace("_", " "), fontsize=10, fontweight="bold", va="top")
    meaning = textwrap.fill(MEANING.get(row.issue, ""), 33)
    axis.text(0, top + 0.27, f"{row.count:,} found\n{meaning}", fontsize=7.5, va="top")
    axis.text(_TEXT, top + 0.1, "\n".join(_wrapped(row.told)), fontsize=8, va="top")


def _place(axis: Any, picture: np.ndarray, caption: str, left: float, top: float, scale: float) -> None:
    """Put a picture at the foot of its square, and the caption under it."""
    height, width = (scale * length / 100 for length in picture.shape[:2])
    middle, foot = left + _CELL / 2, top + 0.08 + SIDE / 100
    left, right, head = middle - width / 2, middle + width / 2, foot - height
    axis.imshow(picture, interpolation="nearest", extent=(left, right, foot, head))
    axis.plot([left, right, right, left, left], [foot, foot, head, head, foot], color=plots.GREY, linewidth=0.4)
    axis.text(middle, foot + 0.04, caption, fontsize=6.5, ha="center", va="top", linespacing=1.15)


def _wrapped(told: list[str]) -> list[str]:
    return [line for text in told for line in textwrap.wrap(plots.plain(text, 400), 98)]
