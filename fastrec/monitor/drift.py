"""Do live pictures still look like the test images?  A distance with a threshold, and a test against chance."""

from __future__ import annotations

from collections.abc import Sequence, Sized
from typing import Literal

import numpy as np
import pandas as pd
from scipy import stats

from fastrec import labels
from fastrec.artefacts import STATISTICS
from fastrec.files import FastrecError
from fastrec.records import Check, Drift

FEWEST = 50  # live rows below which no verdict is given
THRESHOLD = 0.1  # of Kolmogorov-Smirnov: two normal curves a quarter of a deviation apart
ALPHA = 0.05  # the chance of any false alarm among all checks
RESAMPLES = 4_999
SELF_TEST = "self-test"  # the source of what the deploy stage asks on its own


def measure(
    reference: pd.DataFrame,
    live: pd.DataFrame,
    reference_sha256: str,
    *,
    threshold: float = THRESHOLD,
    alpha: float = ALPHA,
    seed: int = 0,
    multi_label: bool = False,
) -> Drift:
    """Compare live requests with the reference, one check per image statistic, score and predicted class.

    A check drifts only if its distance reaches ``threshold`` *and* its corrected p-value (:func:`holm`)
    is below ``alpha``: a small sample cannot alarm by chance, a huge one cannot by a shift that does
    not matter.  Requests count as independent; many pictures of one scene make p-values too small.

    Parameters
    ----------
    reference
        Test images with the columns of PREDICTIONS, as `fastrec.monitor.reference.served_answers` gives them.
    live
        Rows of the log; refused requests carry no answer and are left out.
    reference_sha256, threshold, alpha, seed
        Checksum of PREDICTIONS; ``threshold`` from 0 (same) to 1 (disjoint), ``alpha`` the chance of any
        false alarm.
    multi_label
        ``predicted`` holds joined labels (see `fastrec.labels`), whose classes are compared one by one.

    Raises
    ------
    FastrecError
        If ``threshold`` or ``alpha`` is out of range.
    """
    for name, value in (("threshold", threshold), ("alpha", alpha)):
        if not 0 < value < 1:
            raise FastrecError(f"{name} is {value}: take a number between 0 and 1.")
    live = answered(live)
    checks = [_numbers(name, reference[name], live[name]) for name in (*STATISTICS, "score")]
    checks.append((_sets if multi_label else _names)("predicted", reference["predicted"], live["predicted"], seed))
    state = _decide(checks, threshold, alpha)
    return Drift(
        state=state,
        traffic=_traffic(live),
        bundle=next(iter(reference["bundle"]), ""),
        checks=checks,
        reference_sha256=reference_sha256,
        n_reference=len(reference),
        n_live=len(live),
    )


def _traffic(live: pd.DataFrame) -> Literal["real", "self-test", "none"]:
    if live.empty:
        return "none"
    return "self-test" if (live["source"] == SELF_TEST).all() else "real"


def _decide(checks: Sequence[Check], threshold: float, alpha: float) -> Literal["ok", "drift", "insufficient_data"]:
    """Fill in threshold, corrected p-value and verdict of each check, and return the state of all."""
    tested = [check for check in checks if check.p_value is not None]
    for check in checks:
        check.threshold = threshold
    for check, p_value in zip(tested, holm([check.p_value or 0.0 for check in tested]), strict=True):
        check.p_value = p_value
        check.drifted = (check.statistic or 0.0) >= threshold and p_value < alpha
    if any(check.drifted for check in tested):
        return "drift"
    return "ok" if tested else "insufficient_data"


def answered(log: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of the log that got an answer."""
    return log[log["code"].isna() & log["predicted"].notna()]


def _numbers(name: str, reference: pd.Series, live: pd.Series) -> Check:
    """Compare two samples of numbers: the largest gap between their distribution functions.

    Two-sample test of Kolmogorov and Smirnov (Hodges 1958, https://doi.org/10.1007/BF02589501); with
    its asymptotic p-value, which ties only make larger.
    """
    old, new = (values[np.isfinite(values.astype(float))].to_numpy(float) for values in (reference, live))
    check = _blank(name, "Kolmogorov-Smirnov", old, new)
    if not check.note and np.ptp(np.concatenate([old, new])) == 0:
        check.note = f"constant: {old[0]:g} in both"
    if not check.note:
        found = stats.ks_2samp(old, new, method="asymp")
        check.statistic, check.p_value = float(found.statistic), float(found.pvalue)
    return check


def _names(name: str, reference: pd.Series, live: pd.Series, seed: int) -> Check:
    """Compare two samples of names: the share that would have to change its name.

    Total variation distance, tested by Pearson's chi-square against random tables of the same
    margins (Patefield 1981, https://doi.org/10.2307/2346669), so that rare names do no harm.
    """
    old, new = reference.dropna(), live.dropna()
    check = _blank(name, "total variation", old, new)
    counts = pd.DataFrame({"old": old.value_counts(), "new": new.value_counts()}).fillna(0).to_numpy(int).T
    if not check.note and counts.shape[1] == 1:
        check.note = f"constant: {old.iloc[0]} in both"
    if not check.note:
        chance = stats.MonteCarloMethod(n_resamples=RESAMPLES, rng=np.random.default_rng(seed))
        shares = counts / counts.sum(1, keepdims=True)
        check.statistic = float(np.abs(shares[0] - shares[1]).sum() / 2)
        check.p_value = float(stats.chi2_contingency(counts, correction=False, method=chance).pvalue)
    return check


def _sets(name: str, reference: pd.Series, live: pd.Series, seed: int) -> Check:
    """Compare two samples of sets of labels: the largest difference of the shares of pictures that hold a class.

    Tested by dealing all pictures anew to the two samples (permutation test, Fisher 1935), which moves whole
    sets and so keeps what belongs together.
    """
    old, new = reference.dropna(), live.dropna()
    check = _blank(name, "largest class shift", old, new)
    counts = pd.DataFrame({"old": old.value_counts(), "new": new.value_counts()}).fillna(0).astype(int).sort_index()
    if not check.note and len(counts) == 1:
        check.note = f"constant: {labels.told(counts.index[0])} in both"
    if not check.note:
        classes = sorted({each for text in counts.index for each in labels.split(text)})
        holds, total = labels.indicators(counts.index, classes).astype(int), counts.sum(axis=1).to_numpy()
        dealt = np.random.default_rng(seed).multivariate_hypergeometric(total, len(new), RESAMPLES, method="marginals")
        drawn = np.vstack([counts["new"], dealt])
        gaps = np.abs(drawn @ holds / len(new) - (total - drawn) @ holds / len(old)).max(axis=1)
        check.statistic = float(gaps[0])
        check.p_value = float((gaps >= gaps[0] - 1e-12).mean())
    return check


def _blank(name: str, method: str, old: Sized, new: Sized) -> Check:
    """Return a check without a result; with a note where there are too few values for one."""
    short = [f"{len(values)} {what}" for what, values in (("reference", old), ("live", new)) if len(values) < FEWEST]
    return Check(
        name=name,
        method=method,
        statistic=None,
        threshold=THRESHOLD,
        drifted=None,
        n_reference=len(old),
        n_live=len(new),
        note=f"{' and '.join(short)} values, {FEWEST} are needed" if short else "",
    )


def holm(p_values: Sequence[float]) -> list[float]:
    """Correct p-values for their number m: the k-th smallest times m - k + 1, never falling.

    Holm 1979, https://www.jstor.org/stable/4615733.
    """
    values = np.asarray(p_values, float)
    order = np.argsort(values)
    corrected = np.empty(len(values))
    corrected[order] = np.minimum(np.maximum.accumulate(values[order] * np.arange(len(values), 0, -1)), 1.0)
    return corrected.tolist()


def table(drift: Drift) -> pd.DataFrame:
    """Return the checks as a table indexed by name."""
    return pd.DataFrame([check.model_dump() for check in drift.checks]).set_index("name")


def verdict(drift: Drift) -> str:
    """Tell DRIFT in words: what moved, what did not, and what could not be said."""
    compared = f"{drift.n_live} live requests against {drift.n_reference} test images"
    moved = [check for check in drift.checks if check.drifted]
    silent = [f"{check.name} ({check.note})" for check in drift.checks if check.drifted is None]
    if drift.state == "insufficient_data":
        said = f"Too little to say: {compared}."
    elif moved:
        names = ", ".join(f"{check.name} ({check.statistic:.2f}, threshold {check.threshold:g})" for check in moved)
        said = f"Drift: {compared} differ in {names}."
    else:
        said = f"No drift to be seen: {compared}."
    if drift.traffic == "self-test":
        said = f"Only the deploy stage's own test pictures came in so far: this tries the checks, no visitor. {said}"
    return said + (f"\nNot judged: {'; '.join(silent)}." if silent else "")
