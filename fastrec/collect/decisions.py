"""Decisions made by hand: a table beside the run's stages, applied on the next run, never edits of originals."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Literal

import pandas as pd

from fastrec.artefacts import DECISIONS, REJECTED
from fastrec.run import Run

Action = Literal["keep", "relabel", "drop"]


def read(run: Run) -> pd.DataFrame:
    """Read the run's decisions; an empty table is written where there is none yet."""
    if not run.has(DECISIONS):
        run.write(DECISIONS, pd.DataFrame(columns=DECISIONS.schema.names))
    return run.read(DECISIONS)


def decide(run: Run, image_id: str, action: Action, labels: Sequence[str] = ()) -> pd.DataFrame:
    """Add one decision; a later one for the same image replaces it."""
    table = read(run)
    row = {"image_id": image_id, "action": action, "labels": list(labels), "time": time.strftime("%FT%T%z")}
    table = pd.concat([table[table["image_id"] != image_id], pd.DataFrame([row])], ignore_index=True)
    run.write(DECISIONS, table)
    return table


def undo(run: Run) -> pd.DataFrame:
    """Take the latest decision back."""
    table = read(run).iloc[:-1]
    run.write(DECISIONS, table)
    return table


def apply(manifest: pd.DataFrame, rejected: pd.DataFrame, table: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return MANIFEST and REJECTED with the decisions carried out: relabelled, or moved to the rejected."""
    chosen = table.set_index("image_id")
    action = manifest["image_id"].map(chosen["action"])
    new = manifest["image_id"].map(chosen["labels"])
    relabelled = manifest.copy()
    relabelled["labels"] = new.where(action == "relabel", manifest["labels"])
    dropped = manifest.loc[action == "drop", "path"]
    rows = [{"path": path, "code": "dropped", "message": f"{path} was dropped by hand."} for path in dropped]
    both = pd.concat([rejected, pd.DataFrame(rows, columns=REJECTED.schema.names)], ignore_index=True)
    return relabelled[action != "drop"].reset_index(drop=True), both.sort_values("path", ignore_index=True)
