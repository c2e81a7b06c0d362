"""What a bundle says about the images of a split, read from the cache and computed by torch."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from fastrec import bundle as bundles
from fastrec import channels, engine, images, labels
from fastrec.artefacts import BUNDLE, CACHE, IMAGES, MANIFEST, PREDICTIONS, SPLITS
from fastrec.bundle import Bundle
from fastrec.files import FastrecError, checksum
from fastrec.records import BundleRecord, CacheInfo
from fastrec.run import Run

if TYPE_CHECKING:
    from torch import nn

BATCH = 256


def predictions(run: Run, bundle: str, split: str = "test") -> pd.DataFrame:
    """Predict every image of a split.

    Parameters
    ----------
    run
        Whose splits, cache and bundle are read.
    bundle
        Its label within the run, such as ``03_train/fastnet``.
    split
        ``train``, ``valid`` or ``test``.

    Returns
    -------
    PREDICTIONS, in the order of SPLITS; ``scores`` in the order of the bundle's classes.

    Raises
    ------
    FastrecError
        If the bundle was trained on another split or for other pixels than the run holds now, or the
        split is empty or shares images with another one.
    """
    rows = split_rows(run, split)
    loaded = open_bundle(run, bundle)
    cached = run.read(IMAGES)
    scores = probabilities(loaded, cached, rows["row"].to_numpy(), f"predict {split}")
    predicted, certainty = labels.answers(scores, loaded.record.classes, loaded.record.thresholds)
    table = rows.merge(run.read(MANIFEST)[["image_id", "path", "width", "height"]], on="image_id", how="left")
    table = table.assign(
        predicted=predicted,
        score=certainty,
        scores=list(scores),
        bundle=bundle,
        **measured(cached, rows["row"].to_numpy()),
    )
    return table[PREDICTIONS.schema.names]


def split_rows(run: Run, split: str) -> pd.DataFrame:
    """Return the rows of SPLITS that belong to ``split``, after making sure that no other split shares them.

    Raises
    ------
    FastrecError
        If the split is empty, or one of its images or groups also stands in another split.
    """
    table = run.read(SPLITS)
    inside = table["split"] == split
    if not inside.any():
        raise FastrecError(f"{SPLITS.file} has no {split} images: run notebooks/02_preprocess.ipynb again.")
    for column in ("image_id", "group"):
        shared = table.loc[inside & table[column].isin(table.loc[~inside, column]), column]
        if len(shared):
            raise FastrecError(
                f"{SPLITS.file} has {column} {shared.iloc[0]} in {split} and in another split: "
                "run notebooks/02_preprocess.ipynb again."
            )
    return table[inside].reset_index(drop=True)


def open_bundle(run: Run, label: str) -> Bundle:
    """Load a bundle by its label and make sure that it fits the run's split and cache.

    Raises
    ------
    FastrecError
        If it is missing or damaged, or does not fit (see :func:`misfit`).
    """
    stage, _, name = label.partition("/")
    loaded = bundles.load(run.read(BUNDLE, name, stage.partition("_")[2]))
    if reason := misfit(run, loaded.record):
        raise FastrecError(f"{label} {reason}: run notebooks/{stage}.ipynb again.")
    return loaded


def misfit(run: Run, record: BundleRecord) -> str:
    """Say why a bundle must not be judged on this run's test split, or nothing where it may be.

    A model trained on another split may have seen what is a test image now.
    """
    run.read(SPLITS)  # names the cure where it is missing
    if record.data_sha256 != checksum(run.path(SPLITS)):
        return "was trained on another split, so it may have seen test images"
    cache: CacheInfo = run.read(CACHE)
    wanted, told = record.preprocessing, "{0.size} pixels ({0.resize}, {0.channels} channels)".format
    if (cache.size, cache.resize, cache.channels) != (wanted.size, wanted.resize, wanted.channels):
        return f"expects images of {told(wanted)}, but the cache holds {told(cache)}"
    if (record.multi_label, record.classes) != (cache.multi_label, cache.classes):
        return "was trained for other classes"
    return ""


def probabilities(bundle: Bundle, pixels: np.ndarray, rows: np.ndarray, what: str = "predict") -> np.ndarray:
    """Return the class probabilities of cached pictures.

    Parameters
    ----------
    bundle
        The model.
    pixels
        uint8, (n, size, size, channels), may be memory-mapped.
    rows
        Which of them, in the order wanted.
    what
        Named beside the bar that shows how far it is.

    Returns
    -------
    float64, (len(rows), classes): the softmax of the logits divided by the bundle's temperature;
    with several labels the sigmoid.

    Raises
    ------
    FastrecError
        If the network gives a number that is not finite.
    """
    from fastrec.train import architectures

    network = architectures.restore(bundle)
    parts = _parts(rows)
    batches = engine.progress(parts, len(parts), what, unit="batch")
    found = [_batch(network, bundle.record, pixels[part]) for part in batches]
    scores = np.concatenate(found)
    if not np.isfinite(scores).all():
        raise FastrecError(f"{bundle.label} gives probabilities that are not numbers: train it again.")
    return scores


def _batch(network: nn.Module, record: BundleRecord, pixels: np.ndarray) -> np.ndarray:
    import torch

    done = record.preprocessing
    mean, std = (torch.tensor(levels).view(1, -1, 1, 1) for levels in (done.mean, done.std))
    with torch.inference_mode():
        scaled = torch.from_numpy(np.array(pixels)).permute(0, 3, 1, 2).float() / 255.0
        logits = network((scaled - mean) / std).double() / record.temperature
        return (torch.sigmoid(logits) if record.multi_label else torch.softmax(logits, 1)).numpy()


def measured(pixels: np.ndarray, rows: np.ndarray) -> dict[str, np.ndarray]:
    """Return `fastrec.images.statistics` of the given cached pictures, measured in parts."""
    parts = [images.statistics(channels.expanded(pixels[part])) for part in _parts(rows)]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _parts(rows: np.ndarray) -> list[np.ndarray]:
    return [rows[start : start + BATCH] for start in range(0, len(rows), BATCH)]
