"""Labels that are likely wrong, judged by models that did not learn from them: a look back from collect to tune."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from fastrec import labels
from fastrec.artefacts import CACHE, FOLDS, QUALITY
from fastrec.collect import controls, decisions
from fastrec.files import FastrecError
from fastrec.run import Run

ISSUE = "label_error"
COLUMNS = ("image_id", "given", "suggested", "score")


def suspects(folds: pd.DataFrame, classes: Sequence[str], multi_label: bool = False) -> pd.DataFrame:
    """Find the pictures whose label the out-of-fold predictions contradict.

    Confident learning as cleanlab does it (Northcutt et al. 2021, https://arxiv.org/abs/1911.00068; for
    several labels Thyagarajan et al. 2022, https://arxiv.org/abs/2211.13895).

    Parameters
    ----------
    folds
        The table FOLDS.
    classes
        In the order of its scores.
    multi_label
        A picture may have several labels.

    Returns
    -------
    ``image_id``, ``given``, ``suggested`` (both as `fastrec.labels.join` writes them) and ``score``, the
    probability of the most likely change of a label; the least credible given label first.

    Raises
    ------
    FastrecError
        If cleanlab is not installed, or the table does not belong to the classes.
    """
    given, scores = _given(folds["label"], classes, multi_label), np.array(folds["scores"].to_list(), float)
    if not len(folds):
        return pd.DataFrame(columns=list(COLUMNS))
    if scores.shape != given.shape:
        raise FastrecError(f"{FOLDS.file} has scores of {scores.shape[1]} classes, not {len(classes)}: run tune again.")
    wrong = np.where(given, 1 - scores, scores)
    found = folds.assign(
        given=folds["label"],
        suggested=folds["predicted"],
        score=wrong.max(1) if multi_label else scores.max(1),
    ).iloc[_ranked(given, scores, multi_label)]
    return found.loc[found["given"] != found["suggested"], list(COLUMNS)].reset_index(drop=True)


def _given(texts: pd.Series, classes: Sequence[str], multi_label: bool) -> np.ndarray:
    """Return a bool matrix (n, classes) of the given labels."""
    try:
        if multi_label:
            return labels.indicators(texts, classes)
        place = {name: k for k, name in enumerate(classes)}
        return np.eye(len(classes), dtype=bool)[[place[text] for text in texts]]
    except KeyError as error:
        raise FastrecError(f"{FOLDS.file} has the label {error}, which is no class now: run tune again.") from error


def _ranked(given: np.ndarray, scores: np.ndarray, multi_label: bool) -> np.ndarray:
    """Return the rows that cleanlab holds for mislabelled, the least credible given label first."""
    try:
        from cleanlab import filter as single
        from cleanlab.multilabel_classification import filter as several
    except ImportError:
        raise FastrecError(
            "likely label errors are not looked for, since cleanlab is not installed: pip install 'fastrec[quality]'."
        ) from None
    how: dict[str, Any] = {"return_indices_ranked_by": "self_confidence", "n_jobs": 1}
    if multi_label:
        return several.find_label_issues([list(np.flatnonzero(row)) for row in given], scores, **how)
    return single.find_label_issues(given.argmax(1), scores, **how)


def title(row: Any) -> str:
    """Return ``given→suggested score`` of a suspect, short enough to stand above a picture."""
    one, other = (controls.short(text, 6) for text in (row.given, row.suggested))
    return f"{one}→{other} {row.score:.2f}"


def of_run(run: Run, manifest: pd.DataFrame) -> pd.DataFrame:
    """Return the suspects of the run's last cross-validation that still are open.

    Left out are pictures that are gone, carry another label by now, or were decided on by hand.  FOLDS
    is read without being recorded as an input: otherwise each training would make collect out of date.

    Raises
    ------
    FastrecError
        As :func:`suspects` does.
    """
    aside = Run(run.name)  # no stage is open there, so nothing is recorded as its input
    if not (aside.has(FOLDS) and aside.has(CACHE)):
        return pd.DataFrame(columns=list(COLUMNS))
    info = aside.read(CACHE)
    found = suspects(aside.read(FOLDS), info.classes, info.multi_label)
    now = dict(zip(manifest["image_id"], manifest["labels"].map(labels.join), strict=True))
    same = found["image_id"].map(now) == found["given"]
    decided = found["image_id"].isin(decisions.latest(run)["image_id"])
    return found[same & ~decided].reset_index(drop=True)


def add(run: Run, manifest: pd.DataFrame, quality: pd.DataFrame) -> pd.DataFrame:
    """Return QUALITY with a row for each open suspect; where these cannot be had, print why."""
    try:
        found = of_run(run, manifest)
    except FastrecError as error:
        print(error)
        return quality
    path = dict(zip(manifest["image_id"], manifest["path"], strict=True))
    rows = []
    for image_id, given, suggested, score in found[list(COLUMNS)].itertuples(index=False, name=None):
        message = (
            f"{path[image_id]} is labelled {told(given)}; a model that did not learn from it says "
            f"{told(suggested)} ({score:.2f})."
        )
        rows.append({"issue": ISSUE, "image_id": image_id, "other_id": None, "value": score, "message": message})
    added = pd.DataFrame(rows, columns=QUALITY.schema.names)
    return pd.concat([quality, added], ignore_index=True) if rows else quality


def told(text: str) -> str:
    """Return joined labels as words."""
    return ", ".join(labels.split(text)) or "nothing"
