"""An artefact in, a figure out: every picture that a notebook or a report shows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from io import BytesIO
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, MaxNLocator, NullLocator
from PIL import Image

from fastrec import channels

INK, BLUE, ORANGE, GREEN, RED, GREY = "#22303c", "#2f6db3", "#e08a1e", "#3a8f5c", "#c2413b", "#9aa5b1"
_STYLE: Any = {  # matplotlib types the names of its settings one by one
    "figure.dpi": 100,
    "figure.facecolor": "white",
    "font.size": 9,
    "axes.titlesize": 10,
    "axes.edgecolor": GREY,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#e6eaee",
    "text.color": INK,
    "axes.labelcolor": INK,
    "xtick.color": INK,
    "ytick.color": INK,
}


@contextmanager
def canvas(
    rows: int = 1, columns: int = 1, size: tuple[float, float] = (7.0, 3.2), **options: Any
) -> Iterator[tuple[Figure, Any]]:
    """Yield a figure in the house style and its axes; closed at the end, so that a cell shows it once."""
    with plt.rc_context(_STYLE):
        figure, axes = plt.subplots(rows, columns, figsize=size, layout="constrained", **options)
        try:
            yield figure, axes
        finally:
            plt.close(figure)


def plain(text: object, longest: int = 24) -> str:
    """Return text that a figure shows as it is: no mathematics between dollars, no line breaks, not too long.

    Control characters and broken Unicode, which fonts cannot draw, become U+FFFD.
    """
    shown = " ".join(str(text).split()) or "(blank)"
    shown = "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in shown)
    shown = shown if len(shown) <= longest else shown[: longest - 1] + "…"
    return shown.replace("$", r"\$")


def image_grid(
    images: Sequence[np.ndarray], titles: Sequence[str] = (), columns: int = 8, colours: Sequence[str] = ()
) -> Figure:
    """Draw uint8 pictures (height, width, 3 or 1) in rows, each under its title."""
    columns = min(columns, max(1, len(images)))
    rows = max(1, -(-len(images) // columns))
    height = rows * (1.15 if len(titles) else 1.0)
    with canvas(rows, columns, (columns * 1.05, height), squeeze=False) as (figure, axes):
        for axis in axes.flat:
            axis.axis("off")
        for k, (axis, image) in enumerate(zip(axes.flat, images, strict=False)):
            axis.imshow(channels.expanded(image), interpolation="nearest")
            if k < len(titles):
                axis.set_title(plain(titles[k], 18), fontsize=7, color=colours[k] if k < len(colours) else INK, pad=2)
        return figure


def image_rows(rows: Sequence[tuple[str, Sequence[np.ndarray], Sequence[str]]]) -> Figure:
    """Draw rows of uint8 pictures (height, width, 3 or 1): the row's name at the left, titles above."""
    columns = max((len(images) for _, images, _ in rows), default=1)
    with canvas(max(1, len(rows)), columns, (0.9 + columns * 0.76, len(rows) * 0.87), squeeze=False) as (figure, axes):
        for axis in axes.flat:
            axis.axis("off")
        for line, (name, images, titles) in zip(axes, rows, strict=False):
            line[0].text(-0.15, 0.5, name, transform=line[0].transAxes, ha="right", va="center", weight="bold")
            for k, (axis, image) in enumerate(zip(line, images, strict=False)):
                axis.imshow(channels.expanded(image), interpolation="nearest")
                axis.set_title(titles[k] if k < len(titles) else "", fontsize=7, pad=2)
        return figure


def class_counts(counts: pd.DataFrame) -> Figure:
    """Draw how many images each class (index) has, stacked by column, such as the splits."""
    shown = counts.iloc[:40]
    with canvas(size=(7.0, max(1.2, 0.6 + 0.22 * len(shown)))) as (figure, axis):
        left, places = np.zeros(len(shown)), range(len(shown))  # by place: cut names may be equal
        for colour, column in zip((BLUE, ORANGE, GREEN, RED), shown.columns, strict=False):
            axis.barh(places, shown[column], left=left, color=colour, label=plain(column))
            left = left + shown[column].to_numpy()
        axis.set_yticks(places, [plain(name) for name in shown.index])
        axis.invert_yaxis()
        axis.grid(axis="y", visible=False)
        axis.set_xlabel(
            "images" if len(shown) == len(counts) else f"images (first {len(shown)} of {len(counts)} classes)"
        )
        if len(shown.columns) > 1:
            axis.legend(frameon=False, ncols=len(shown.columns), loc="lower center", bbox_to_anchor=(0.5, 1.0))
        return figure


def histograms(table: pd.DataFrame, columns: Sequence[str]) -> Figure:
    """Draw the distribution of each named column of numbers, side by side."""
    with canvas(1, len(columns), (2.4 * len(columns), 2.2), squeeze=False) as (figure, axes):
        for axis, column in zip(axes.flat, columns, strict=True):
            axis.hist(table[column].dropna(), bins=30, color=BLUE)
            axis.set_title(plain(column))
            axis.grid(axis="x", visible=False)
            axis.locator_params(axis="x", nbins=4)
            if table[column].max() >= 10_000:  # 200k: long numbers would run into each other
                axis.xaxis.set_major_formatter(EngFormatter(sep=""))
        return figure


def history(table: pd.DataFrame) -> Figure:
    """Draw HISTORY: loss, accuracy and learning rate by epoch, train beside valid."""
    with canvas(1, 3, (9.0, 2.6)) as (figure, axes):
        _by_epoch(axes, table)
        axes[2].plot(table["epoch"], table["lr"], color=ORANGE, marker=".")
        axes[2].set_title("learning rate at the epoch's end")
        axes[2].set_xlabel("epoch")
        return figure


def curves(table: pd.DataFrame) -> Figure:
    """Draw HISTORY's loss and accuracy alone, smaller and several times faster than :func:`history`."""
    with canvas(1, 2, (6.0, 2.1)) as (figure, axes):
        figure.set_layout_engine(None)  # constrained takes half of the time
        figure.subplots_adjust(left=0.08, right=0.99, bottom=0.2, top=0.88)
        _by_epoch(axes, table)
        return figure


def _by_epoch(axes: Sequence[Axes], table: pd.DataFrame) -> None:
    for axis, metric in zip(axes, ("loss", "accuracy"), strict=False):
        for split, colour in (("train", GREY), ("valid", BLUE)):
            axis.plot(table["epoch"], table[f"{split}_{metric}"], color=colour, label=split, marker=".")
        axis.set_title(metric)
        axis.set_xlabel("epoch")
        axis.xaxis.set_major_locator(MaxNLocator(integer=True))
        axis.legend(frameon=False)


def confusion(
    matrix: Sequence[Sequence[int]] | np.ndarray, classes: Sequence[str], support: Sequence[int] | None = None
) -> Figure:
    """Draw a confusion matrix (rows: label, columns: predicted) coloured by the row's share.

    With several labels per picture the rows do not sum to the pictures of their label: ``support`` tells them.
    """
    counts = np.asarray(matrix)
    totals = counts.sum(1) if support is None else np.asarray(support)
    shares = counts / np.maximum(totals, 1)[:, None]
    side = min(12.0, 2.2 + 0.42 * len(classes))
    with canvas(size=(side, side)) as (figure, axis):
        axis.imshow(shares, cmap="Blues", vmin=0, vmax=1)
        names = [plain(name, 14) for name in classes]
        axis.set_xticks(range(len(names)), names, rotation=60, ha="right")
        axis.set_yticks(range(len(names)), names)
        axis.set_xlabel("predicted" if support is None else "diagonal: found; elsewhere: wrongly added")
        axis.set_ylabel("label" if support is None else "pictures with this label")
        axis.grid(visible=False)
        if len(classes) <= 30:
            _write_counts(axis, counts, shares)
        return figure


def _write_counts(axis: Axes, counts: np.ndarray, shares: np.ndarray) -> None:
    for row, column in np.argwhere(counts > 0):
        colour = "white" if shares[row, column] > 0.55 else INK
        axis.text(column, row, str(counts[row, column]), ha="center", va="center", fontsize=7, color=colour)


def png(pixels: np.ndarray) -> bytes:
    """Return a picture (height, width, 3 or 1) as the bytes of a PNG file."""
    stream = BytesIO()
    Image.fromarray(np.ascontiguousarray(channels.expanded(pixels))).save(stream, "PNG")
    return stream.getvalue()


def reliability(table: pd.DataFrame) -> Figure:
    """Draw accuracy by score, bin by bin; on the diagonal a score is what it says."""
    with canvas(size=(3.6, 3.4)) as (figure, axis):
        axis.plot([0, 1], [0, 1], color=GREY, linestyle="--")
        axis.plot(table["score"], table["accuracy"], color=BLUE, marker="o", markersize=4)
        axis.set_xlabel("mean score of a bin")
        axis.set_ylabel("share of right answers")
        least = max(0.0, table[["score", "accuracy"]].min().min() - 0.1)
        axis.set(xlim=(least, 1.01), ylim=(least, 1.01))
        return figure


def intervals(table: pd.DataFrame, what: str) -> Figure:
    """Draw the column ``what``, from ``what_low`` to ``what_high``, for each name (index), one below the other."""
    shown = table.iloc[:40]
    value, low, high = (shown[name].astype(float) for name in (what, f"{what}_low", f"{what}_high"))
    beside = [(value - low).fillna(0), (high - value).fillna(0)]
    with canvas(size=(6.0, 0.8 + 0.24 * len(shown))) as (figure, axis):
        places = range(len(shown))
        axis.errorbar(value, places, xerr=np.maximum(beside, 0), fmt="o", color=BLUE, capsize=3, markersize=4)
        axis.set_yticks(places, [plain(name) for name in shown.index])
        axis.invert_yaxis()
        more = "" if len(shown) == len(table) else f" (first {len(shown)} of {len(table)})"
        axis.set_xlabel(f"{what}, with its 95 % interval{more}")
        return figure


def drift(table: pd.DataFrame) -> Figure:
    """Draw the statistic of each drift check (index) beside its threshold; red where it drifted."""
    with canvas(size=(6.0, 0.8 + 0.26 * len(table))) as (figure, axis):
        colours = {True: RED, False: BLUE, None: GREY}
        drawn = [colours[None if pd.isna(value) else bool(value)] for value in table["drifted"]]
        axis.barh(range(len(table)), table["statistic"].astype(float).fillna(0), color=drawn)
        axis.plot(table["threshold"], range(len(table)), "|", color=INK, markersize=14)
        axis.set_yticks(range(len(table)), [plain(name) for name in table.index])
        axis.invert_yaxis()
        axis.set_xlabel("distance from the reference (bar) and threshold (tick)")
        return figure


def shifts(reference: pd.DataFrame, live: pd.DataFrame, columns: Sequence[str]) -> Figure:
    """Draw the distribution of each column in the reference and in live traffic."""
    with canvas(1, len(columns), (2.3 * len(columns), 2.3), squeeze=False) as (figure, axes):
        for axis, column in zip(axes.flat, columns, strict=True):
            parts = [table[column].dropna().to_numpy(float) for table in (reference, live)]
            edges = np.histogram_bin_edges(np.concatenate(parts), 20)
            for values, colour, name in zip(parts, (GREY, ORANGE), ("reference", "live"), strict=True):
                weights = np.full(len(values), 1 / max(1, len(values)))
                axis.hist(values, edges, weights=weights, color=colour, alpha=0.6, label=name)
            axis.set_title(plain(column))
        figure.legend(*axes.flat[0].get_legend_handles_labels(), loc="outside upper right", ncols=2, frameon=False)
        return figure


def traffic(counts: pd.DataFrame) -> Figure:
    """Draw the requests of each period (index), stacked by column."""
    with canvas(size=(7.0, 2.4)) as (figure, axis):
        base = np.zeros(len(counts))
        for colour, column in zip((BLUE, RED), counts.columns, strict=False):
            axis.bar(range(len(counts)), counts[column], bottom=base, color=colour, label=plain(column))
            base = base + counts[column].to_numpy()
        step = max(1, len(counts) // 12)
        axis.set_xticks(range(0, len(counts), step), [plain(name) for name in counts.index[::step]], rotation=30)
        axis.set_xlim(-0.6, max(len(counts), 8) - 0.4)  # one day's bar shall not fill the figure
        axis.set_ylabel("requests")
        figure.legend(loc="outside upper right", ncols=2, frameon=False)
        return figure


def rate_finder(rates: Sequence[float], losses: Sequence[float], suggested: float, used: float) -> Figure:
    """Draw the loss by learning rate, with the finder's suggestion and the rate that is used."""
    with canvas(size=(6.0, 2.8)) as (figure, axis):
        axis.plot(rates[:-5], [float(loss) for loss in losses[:-5]], color=BLUE)
        axis.set_xscale("log")
        axis.set_xlabel("learning rate")
        axis.set_ylabel("loss")
        for rate, colour, name in ((suggested, ORANGE, "valley"), (used, GREEN, "used")):
            axis.axvline(rate, color=colour, linestyle="--", label=f"{name} {rate:.2g}")
        axis.legend(frameon=False)
        return figure


def trials(table: pd.DataFrame) -> Figure:
    """Draw the score of every trial against each parameter that was searched."""
    known = ("trial", "state", "value", "seconds", "reason")
    columns = [name for name in table.columns if name not in known]
    done = table.dropna(subset=["value"])
    with canvas(1, len(columns), (2.4 * len(columns), 2.4), sharey=True, squeeze=False) as (figure, axes):
        for axis, column in zip(axes.flat, columns, strict=True):
            numeric = pd.api.types.is_numeric_dtype(done[column])
            axis.plot(done[column] if numeric else done[column].astype(str), done["value"], "o", color=BLUE, alpha=0.7)
            if numeric and done[column].min() > 0 and done[column].max() > 8 * done[column].min():
                axis.set_xscale("log")  # whose own labels run into each other below two decades
                ends = np.geomspace(done[column].min(), done[column].max(), 3)
                axis.set_xticks(ends, [f"{value:.2g}" for value in ends])
                axis.xaxis.set_minor_locator(NullLocator())
            axis.set_xlabel(plain(column))
        axes[0, 0].set_ylabel("valid accuracy")
        return figure
