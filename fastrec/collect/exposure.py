"""Find dark, washed-out and blurred pictures from what one decode told about them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd


@dataclass(frozen=True)
class Fault:
    """One way to be unlike a usable picture: a measure, its limit and the words for it."""

    measure: str
    limit: float
    below: bool  # faulty below the limit, not above it
    words: str


FAULTS = {
    "dark": Fault("peak", 0.25, True, "hardly anything is brighter than {0:.2f} of white (the set's median {1:.2f})"),
    "bright": Fault("floor", 0.75, False, "hardly anything is darker than {0:.2f} of white (the set's median {1:.2f})"),
    "blurred": Fault("detail", 0.30, True, "its fine detail is {0:.2f}, where 0.24 is none (the set's median {1:.2f})"),
}
UNUSUAL = 2.0  # robust deviations from the set's median: a set that is dark by nature is no fault
LEAST_DEVIATION = 0.05  # in a set of equal pictures a small difference is not unusual
SMALLEST = 32  # pixels a side; a smaller picture is enlarged to be measured, which looks like blur


def faults(manifest: pd.DataFrame, seen: pd.DataFrame) -> Iterator[tuple[str, int, float, str]]:
    """Yield each fault of a picture: its name, the row's position in the manifest, the measure and a phrase.

    A picture is faulty only if it is so on an absolute scale *and* unusual in its set (by median and
    median absolute deviation; Iglewicz and Hoaglin 1993), so that scans on black and drawings on white are
    left alone.  Blur shows at 64 pixels only: slighter blur does not reach the network either.
    """
    table = measures(manifest, seen)
    for name, fault in FAULTS.items():
        values = table[fault.measure].to_numpy()
        if np.isnan(values).all():
            continue
        beyond = values < fault.limit if fault.below else values > fault.limit
        for place in np.flatnonzero(beyond & (np.abs(unusual(values)) > UNUSUAL)):
            words = fault.words.format(values[place], np.nanmedian(values))
            yield name, int(place), float(values[place]), words


def measures(manifest: pd.DataFrame, seen: pd.DataFrame) -> pd.DataFrame:
    """Measure how the levels of each picture lie and how much fine detail it has, in the manifest's order.

    Returns
    -------
    ``peak`` and ``floor``: two standard deviations above and below the mean luma, 0 to 1, where white is 1;
    ``detail``: the mean step between neighbours at 64 pixels over that at 16, 0.24 for a smooth ramp and
    more the finer the detail.  NaN where it cannot be told.
    """
    asked = seen[["image_id", "brightness", "contrast", "sharpness", "coarse_sharpness"]]
    known = asked.drop_duplicates("image_id").set_index("image_id").reindex(manifest["image_id"])
    plain = manifest["warnings"].map(lambda notes: "nearly constant" in list(notes)).to_numpy(bool)
    brightness, contrast = (known[name].to_numpy(float) for name in ("brightness", "contrast"))
    small = manifest[["width", "height"]].min(axis=1).to_numpy() < SMALLEST
    detail = known["sharpness"].to_numpy(float) / np.maximum(known["coarse_sharpness"].to_numpy(float), 1e-4)
    table = {
        "peak": np.clip(brightness + 2 * contrast, 0, 1),
        "floor": np.clip(brightness - 2 * contrast, 0, 1),
        "detail": np.where(small, np.nan, detail),
    }
    return pd.DataFrame(table).mask(pd.Series(plain), axis=0)


def unusual(values: np.ndarray) -> np.ndarray:
    """Return how far each value lies from the median, in median absolute deviations (scaled to the normal)."""
    from scipy.stats import median_abs_deviation

    deviation = median_abs_deviation(values, scale="normal", nan_policy="omit")
    return np.asarray((values - np.nanmedian(values)) / max(deviation, LEAST_DEVIATION))
