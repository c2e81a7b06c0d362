"""Which bundle is the chosen one, by its valid figures, and what the others do on the same test images."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from fastrec import bundle as bundles
from fastrec.artefacts import ABSENT, stage_folder, stage_record
from fastrec.evaluate import intervals, metrics
from fastrec.evaluate.predict import misfit
from fastrec.files import FastrecError, checksum
from fastrec.records import Candidate, Interval, Metrics
from fastrec.run import Run


def candidates(run: Run) -> pd.DataFrame:
    """List the bundles that the latest train and tune made, the best on the valid split first.

    What earlier settings left in the folders does not compete.  The open stage takes note of both stages'
    records, so that it counts as stale as soon as one of them ran again.

    Returns
    -------
    Indexed by label (such as ``03_train/fastnet``): ``architecture``, ``parameters``,
    ``valid_accuracy``, ``valid_macro_f1``, ``valid_loss``, ``usable`` and ``note``, which says why
    one is not usable.

    Raises
    ------
    FastrecError
        If no bundle is usable.
    """
    rows = [row for stage in ("train", "tune") for row in _made(run, stage)]
    if not any(row["usable"] for row in rows):
        reason = f" ({rows[0]['bundle']} {rows[0]['note']})" if rows else ""
        raise FastrecError(f"run {run.name!r} has no model to evaluate{reason}: run notebooks/03_train.ipynb first.")
    order = ["usable", "valid_accuracy", "valid_loss", "parameters", "bundle"]
    table = pd.DataFrame(rows).sort_values(order, ascending=[False, False, True, True, True])
    return table.set_index("bundle")


def _made(run: Run, stage: str) -> Iterator[dict[str, Any]]:
    """Describe what a stage made by its own record; one that did not finish made nothing to rely on."""
    record, path = run.record(stage), run.path(stage_record(stage))
    if record is None:
        run.note_outside(stage_record(stage).file, ABSENT)
        return
    if record.state != "done":
        # its record is noted as it is, so that the open stage becomes stale when it does finish
        run.note_outside(stage_record(stage).file, checksum(path))
        yield _unusable(stage_folder(stage), "did not finish")
        return
    run.note_input(path)
    for label in sorted(record.outputs):
        if (run.folder / label).is_dir():
            yield _described(run, label)


def _unusable(label: str, note: str) -> dict[str, Any]:
    return {"bundle": label, "architecture": "", "usable": False, "note": note}


def _described(run: Run, label: str) -> dict[str, Any]:
    try:
        record = bundles.read_record(run.folder / label)
    except FastrecError:
        return _unusable(label, "has a damaged model.json")
    note = misfit(run, record) or ("" if "accuracy" in record.valid else "has no accuracy on the valid split")
    return {
        "bundle": label,
        "architecture": record.architecture,
        "parameters": record.parameters,
        "valid_accuracy": record.valid.get("accuracy"),
        "valid_macro_f1": record.valid.get("macro_f1"),
        "valid_loss": record.valid.get("loss"),
        "usable": not note,
        "note": note,
    }


def choose(table: pd.DataFrame) -> str:
    """Return the usable candidate with the best valid accuracy, then valid loss, then size.

    Test figures play no part: choosing by them would make the chosen one look better than it is.
    """
    return str(table.index[table["usable"]][0])


def compared(
    table: pd.DataFrame,
    predicted: Mapping[str, pd.DataFrame],
    classes: Sequence[str],
    n_boot: int = metrics.N_BOOT,
    seed: int = 0,
    multi_label: bool = False,
) -> list[Candidate]:
    """Judge all candidates on the same test images, each paired with the chosen one.

    The p-values are not corrected for the number of candidates: none of them decides anything.

    Parameters
    ----------
    table
        As :func:`candidates` gives it.
    predicted
        PREDICTIONS by bundle, the chosen one's among them.
    classes
        In the order of ``scores``.
    n_boot, seed
        Of the resampling: see `fastrec.evaluate.intervals.resample`.
    multi_label
        An answer is right if its whole set of labels is.
    """
    chosen = choose(table)
    right = {label: _right(found, predicted[chosen]) for label, found in predicted.items()}
    made = []
    for label, found in predicted.items():
        figures = metrics.summary(found, classes, n_boot, seed, multi_label)
        made.append(
            Candidate(
                bundle=label,
                chosen=label == chosen,
                valid_accuracy=float(table["valid_accuracy"][label]),
                **{name: figures[name] for name in ("accuracy", "macro_f1", "log_loss")},
                difference=difference(right[label], right[chosen], n_boot, seed),
                p_value=None if label == chosen else mcnemar(right[label], right[chosen]),
                parameters=int(table["parameters"][label]),
            )
        )
    return made


def _right(found: pd.DataFrame, chosen: pd.DataFrame) -> np.ndarray:
    if list(found["image_id"]) != list(chosen["image_id"]):
        raise FastrecError("the candidates were predicted on different images: predict all of them again.")
    return (found["label"] == found["predicted"]).to_numpy()


def mcnemar(right: np.ndarray, other: np.ndarray) -> float:
    """Return the p-value of the exact test that two models are right equally often on the same images.

    A binomial test on the images that only one of them gets right (McNemar 1947,
    https://doi.org/10.1007/BF02295996); 1 where there are none.

    Parameters
    ----------
    right, other
        bool, (n,), in the same order of images.
    """
    from scipy.stats import binomtest

    only, others = int((right & ~other).sum()), int((other & ~right).sum())
    return float(binomtest(only, only + others).pvalue) if only + others else 1.0


def difference(right: np.ndarray, other: np.ndarray, n_boot: int = metrics.N_BOOT, seed: int = 0) -> Interval:
    """Return how much more often the first model is right, with the interval over images drawn in pairs."""
    gain = right.astype(float) - other
    draws = intervals.resample(lambda drawn: {"gain": gain[drawn].mean()}, len(gain), n_boot, seed)
    return intervals.percentile(float(gain.mean()), draws["gain"])


def accuracies(metrics: Metrics) -> pd.DataFrame:
    """Return the accuracy of every candidate and baseline with its interval, the chosen bundle first."""
    ordered = sorted(metrics.candidates, key=lambda candidate: not candidate.chosen)
    found = {candidate.bundle: candidate.accuracy for candidate in ordered}
    found |= {name: baseline.accuracy for name, baseline in metrics.baselines.items()}
    rows = [{"accuracy": one.value, "accuracy_low": one.low, "accuracy_high": one.high} for one in found.values()]
    return pd.DataFrame(rows, index=pd.Index(found))
