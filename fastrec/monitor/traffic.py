"""Who asked what, how fast the answer was, and how often a person said that it was right."""

from __future__ import annotations

from collections.abc import Collection
from typing import Literal

import pandas as pd

from fastrec import labels
from fastrec.evaluate import intervals
from fastrec.monitor.drift import SELF_TEST, answered
from fastrec.records import Interval

AHEAD = pd.Timedelta(minutes=5)  # so far a clock may be wrong before it is worth a word
QUANTILES = (0.5, 0.95, 0.99, 1.0)


def watched(log: pd.DataFrame, bundle: str) -> pd.DataFrame:
    """Return the rows to compare with the reference: answers of its bundle, self-tests only where nothing else is.

    Self-tests are test images: beside real traffic they would thin its drift out.
    """
    mine = answered(log)
    mine = mine[mine["bundle"] == bundle]
    real = mine[mine["source"] != SELF_TEST]
    return mine if real.empty else real


def requests(log: pd.DataFrame, by: Literal["day", "hour"] = "day") -> pd.DataFrame:
    """Count the answered and the refused requests of each UTC day or hour that had any."""
    dated = log[log["time"].notna()]
    period = dated["time"].dt.strftime("%Y-%m-%d" if by == "day" else "%Y-%m-%d %H:00")
    return pd.DataFrame({"answered": dated["code"].isna(), "refused": dated["code"].notna()}).groupby(period).sum()


def sources(log: pd.DataFrame) -> pd.DataFrame:
    """Count requests by where they came from (index) and by code: ``answered``, or why a picture was refused."""
    return pd.crosstab(log["source"].fillna("(unknown)"), log["code"].fillna("answered"))


def latency(log: pd.DataFrame) -> pd.Series:
    """Return the median, 95 %, 99 % and longest time of the answered requests, in milliseconds; NaN without any."""
    spent = answered(log)["milliseconds"].quantile(list(QUANTILES))
    return spent.set_axis(["median", "95 %", "99 %", "longest"])


def clock(log: pd.DataFrame, now: pd.Timestamp | None = None) -> str:
    """Say which rows have a time that cannot be: none at all, or one ahead of now by over five minutes."""
    now = pd.Timestamp.now("UTC") if now is None else now
    undated, ahead = int(log["time"].isna().sum()), int((log["time"] > now + AHEAD).sum())
    if undated or ahead:
        return f"{ahead} requests are dated ahead of now and {undated} not at all: check the service's clock."
    return "All requests are dated, none ahead of now."


def feedback(log: pd.DataFrame, classes: Collection[str], multi_label: bool = False) -> Interval:
    """Return how often a person agreed with the prediction, with the Wilson interval.

    Who answers is not a random sample of those who asked, so this is no estimate of the accuracy;
    labels outside ``classes`` are named in the note.  With several labels, agreed is the same whole set.
    """
    told = answered(log)
    told = told[told["feedback"].notna()]
    found = intervals.proportion(int((told["feedback"] == told["predicted"]).sum()), len(told))
    notes = [f"{len(told)} of {len(log)} requests have feedback"]
    given = {name for text in told["feedback"] for name in labels.each(text, multi_label)}
    if strange := sorted(given - set(classes)):
        notes.append(f"unknown to the model: {', '.join(strange[:5])}{' ...' if len(strange) > 5 else ''}")
    found.note = "; ".join(notes)
    return found
