"""A model on disk: ``model.safetensors`` and ``model.json``; loads without fastai and without pickle."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fastrec import files, provenance
from fastrec.files import FastrecError
from fastrec.formats import reason
from fastrec.records import BundleRecord

if TYPE_CHECKING:
    import torch

WEIGHTS, RECORD = "model.safetensors", "model.json"


@dataclass(frozen=True)
class Bundle:
    """A model's record and its weights by name, as ``torch.Tensor``s on the CPU."""

    record: BundleRecord
    weights: dict[str, torch.Tensor]

    @property
    def label(self) -> str:
        """The bundle's name within its run, such as ``03_train/fastnet``."""
        return f"{self.record.stage}/{self.record.name}"


def save(folder: Path, weights: dict[str, torch.Tensor], **fields: Any) -> BundleRecord:
    """Write weights and record into ``folder``, usually one that ``run.writing(BUNDLE)`` gave.

    Parameters
    ----------
    folder
        Made if missing.
    weights
        A ``state_dict``.
    **fields
        Those of `BundleRecord` but checksum, time and versions, which are filled in here.
    """
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    # clones: safetensors refuses weights that share memory, as tied layers do
    plain = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in weights.items()}
    save_file(plain, folder / WEIGHTS)
    record = BundleRecord(
        weights_sha256=files.checksum(folder / WEIGHTS),
        created=time.strftime("%FT%T%z"),
        versions=provenance.versions(),
        **fields,
    )
    (folder / RECORD).write_text(record.model_dump_json(indent=2) + "\n", encoding="utf-8")
    return record


def read_record(folder: Path) -> BundleRecord:
    """Read ``model.json`` alone.

    Raises
    ------
    FastrecError
        If it is missing or not a bundle's record.
    """
    try:
        return BundleRecord.model_validate_json((folder / RECORD).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise FastrecError(f"{folder} holds no {RECORD}: name a bundle such as 03_train/fastnet.") from None
    except (OSError, ValueError) as error:  # ValidationError and UnicodeDecodeError are ValueErrors
        raise FastrecError(f"{folder / RECORD} is damaged ({reason(error)}): train the model again.") from error


def load(folder: Path) -> Bundle:
    """Read a bundle and verify its weights against the recorded checksum.

    Raises
    ------
    FastrecError
        If a file is missing, is damaged or was exchanged.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    record = read_record(folder)
    weights = folder / WEIGHTS
    if not weights.is_file():
        raise FastrecError(f"{weights} is missing: train the model again.")
    if files.checksum(weights) != record.weights_sha256:
        raise FastrecError(f"{weights} is damaged (sha256 differs from {RECORD}): train the model again.")
    try:
        return Bundle(record, load_file(weights))
    except SafetensorError as error:
        raise FastrecError(f"{weights} is damaged ({error}): train the model again.") from error
