"""Checkpoints on disk: atomic, checksummed, the last two kept, and never mixed with those of another training."""

from __future__ import annotations

import hashlib
import io
import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from fastrec import files
from fastrec.files import FastrecError

KEPT = 2


class Checkpoints:
    """The checkpoints of one training, in a folder named after all that the training depends on.

    Parameters
    ----------
    folder
        Where those of several trainings may lie beside each other.
    key
        What must be equal for a training to go on: data, parameters, code; values that JSON knows.
    """

    def __init__(self, folder: Path, key: Mapping[str, Any]) -> None:
        self.root, self.key = folder, json.loads(json.dumps(key, sort_keys=True))
        self.folder = folder / hashlib.sha256(json.dumps(self.key, sort_keys=True).encode()).hexdigest()[:16]

    def save(self, step: int, state: dict[str, Any]) -> Path:
        """Write the state after ``step`` steps; the one before the last is removed only afterwards.

        Raises
        ------
        FastrecError
            If the disk is full; the earlier checkpoints are kept.
        """
        stream = io.BytesIO()
        torch.save(state, stream)
        data = stream.getbuffer()
        self._check_room(len(data))
        if not (self.folder / "key.json").is_file():
            files.write_text(self.folder / "key.json", json.dumps(self.key, indent=2, sort_keys=True) + "\n")
        # the checksum is part of the name: file and checksum cannot come apart
        target = self.folder / f"{step:08d}-{hashlib.sha256(data).hexdigest()[:32]}.pt"
        with files.replacing(target) as temporary:
            temporary.write_bytes(data)
        for old in self._saved()[:-KEPT]:
            old.unlink()
        return target

    def _check_room(self, size: int) -> None:
        self.root.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(self.root).free
        if free < size:
            raise FastrecError(
                f"{self.folder} has {free / 1e6:.0f} MB free, a checkpoint needs {size / 1e6:.0f}: make room and run "
                "again; the last checkpoint is kept and training will go on from it."
            )

    def _saved(self) -> list[Path]:
        return sorted(self.folder.glob("[0-9]*.pt"))

    def latest(self) -> tuple[dict[str, Any] | None, list[str]]:
        """Read the newest undamaged state, and say in sentences what was passed over."""
        notes: list[str] = []
        for path in reversed(self._saved()):
            data = path.read_bytes()
            if hashlib.sha256(data).hexdigest()[:32] == path.stem.partition("-")[2]:
                return torch.load(io.BytesIO(data), weights_only=True), notes
            notes.append(f"checkpoint {path.name} is damaged (its checksum differs): the one before it is taken.")
        return None, [*notes, *self._others()]

    def _others(self) -> list[str]:
        """Name what sets each other training's checkpoints apart from this one."""
        notes: list[str] = []
        for path in sorted(self.root.glob("*/key.json")):
            if path.parent != self.folder and any(path.parent.glob("[0-9]*.pt")):
                theirs = json.loads(path.read_text(encoding="utf-8"))
                changed = [
                    f"{name} was {theirs.get(name)!r}, is {self.key.get(name)!r}"
                    for name in sorted({*theirs, *self.key})
                    if theirs.get(name) != self.key.get(name)
                ]
                notes.append(f"checkpoint {path.parent.name} is of another training ({'; '.join(changed)}): not used.")
        return notes

    def clear(self) -> None:
        """Remove all checkpoints, those of other trainings too: the trained model is safe elsewhere."""
        shutil.rmtree(self.root, ignore_errors=True)
