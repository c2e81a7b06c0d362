"""Decisions made by hand: a table beside the run's stages, applied on the next run, never edits of originals."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Literal

import pandas as pd

from fastrec import files
from fastrec.artefacts import ABSENT, DECISIONS, REJECTED
from fastrec.collect import sources
from fastrec.run import Run

Action = Literal["keep", "relabel", "drop"]


def read(run: Run) -> pd.DataFrame:
    """Read the run's decisions, the last one of each picture, and record that the open stage applies them.

    A decision that is made later, while the stage is still open, leaves the stage out of date: the
    next run applies it.
    """
    path = run.path(DECISIONS)
    run.note_outside(DECISIONS.file, files.checksum(path) if path.is_file() else ABSENT)
    return latest(run)


def latest(run: Run) -> pd.DataFrame:
    """Read the run's decisions, the last one of each picture, without a word to the open stage."""
    return _log(run).drop_duplicates("image_id", keep="last", ignore_index=True)


def actions(run: Run) -> dict[str, str]:
    """Return the last decision on each picture that has one."""
    made = latest(run)
    return dict(zip(made["image_id"], made["action"], strict=True))


def _log(run: Run) -> pd.DataFrame:
    """Read every decision ever made, in order: undoing one brings back what stood before it."""
    aside = Run(run.name)  # no stage is open there, so nothing is recorded as its input
    return aside.read(DECISIONS) if aside.has(DECISIONS) else pd.DataFrame(columns=DECISIONS.schema.names)


def decide(run: Run, image_ids: str | Iterable[str], action: Action, labels: Sequence[str] = ()) -> pd.DataFrame:
    """Write a decision on a picture, or one on several that are undone together; a later one replaces it."""
    now = datetime.now().astimezone().isoformat(timespec="microseconds")
    names = [image_ids] if isinstance(image_ids, str) else list(image_ids)
    rows = [{"image_id": name, "action": action, "labels": sorted(labels), "time": now} for name in names]
    log = _log(run)
    Run(run.name).write(DECISIONS, pd.DataFrame([*log.to_dict("records"), *rows], columns=DECISIONS.schema.names))
    return latest(run)


def undo(run: Run) -> list[str]:
    """Take the latest decision back and return the pictures that it was about."""
    log = _log(run)
    if log.empty:
        return []
    last = log["time"] == log["time"].iloc[-1]
    Run(run.name).write(DECISIONS, log[~last])
    return log[last]["image_id"].tolist()


def summary(run: Run) -> pd.DataFrame | str:
    """Count the decisions by action; in a report this stands for the widgets that made them."""
    made = latest(run)["action"].value_counts().rename_axis("action").to_frame("pictures")
    return made if len(made) else "No picture was decided on by hand yet."


def apply(
    manifest: pd.DataFrame, rejected: pd.DataFrame, table: pd.DataFrame, label_map: Sequence[str] = ()
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return MANIFEST and REJECTED with the decisions carried out: relabelled, or moved to the rejected.

    Labels given by hand that are no classes of the manifest are renamed, merged and dropped by ``label_map``,
    as those of the source were.
    """
    chosen = table.set_index("image_id")
    action = manifest["image_id"].map(chosen["action"])
    relabelled, gone = manifest.copy(), pd.Series("", manifest.index)
    given = manifest["image_id"].map(chosen["labels"])[action == "relabel"]
    classes = {name for names in manifest["labels"] for name in names}  # that the source has after the map
    new = given.map(lambda names: sources.map_labels(names, label_map, classes))
    relabelled["labels"] = new.reindex(manifest.index).where(action == "relabel", manifest["labels"])
    gone[[place for place in given.index if len(given[place]) and not new[place]]] = "dropped_class"
    gone[action == "drop"] = "dropped"
    said = {"dropped": "was dropped by hand", "dropped_class": "has by hand only labels that label_map drops"}
    rows = [
        {"path": path, "code": code, "message": f"{path} {said[code]}."}
        for path, code in zip(manifest["path"], gone, strict=True)
        if code
    ]
    both = pd.concat([rejected, pd.DataFrame(rows, columns=REJECTED.schema.names)], ignore_index=True)
    return relabelled[gone == ""].reset_index(drop=True), both.sort_values("path", ignore_index=True)


def decided(run: Run, action: Action) -> set[str]:
    """Return the pictures on which this was decided last."""
    return {name for name, last in actions(run).items() if last == action}
