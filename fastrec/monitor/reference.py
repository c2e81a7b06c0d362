"""What live pictures are compared with: the test images, as the served bundle answers them."""

from __future__ import annotations

import pandas as pd

from fastrec.artefacts import PACKAGE, PREDICTIONS
from fastrec.deploy import package
from fastrec.evaluate import predict
from fastrec.files import FastrecError
from fastrec.run import Run


def served_answers(run: Run) -> pd.DataFrame:
    """Return PREDICTIONS; after a promotion the like of it for the promoted bundle, predicted now.

    Scores and classes compare only with those of the same model, and the log of a promoted one holds
    nothing of the bundle that evaluate chose.

    Raises
    ------
    FastrecError
        If the run does not hold the served bundle any more.
    """
    table: pd.DataFrame = run.read(PREDICTIONS)
    served, chosen = _served(run), str(table["bundle"].iloc[0])
    if served in ("", chosen):
        return table
    try:
        return predict.predictions(run, served)
    except FastrecError as error:
        raise FastrecError(
            f"the package serves {served}, evaluate chose {chosen}, and the served one cannot be judged ({error}): "
            f"go back with `fastrec rollback {run.name}`."
        ) from error


def _served(run: Run) -> str:
    """Return the label of the packaged bundle, or nothing where there is no package yet."""
    return str(package.read_record(run.read(PACKAGE))["label"]) if run.has(PACKAGE) else ""
