"""A small finished run: three hostile class names, pictures told apart by colour, and a trained network."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from fastrec import bundle as bundles
from fastrec import files
from fastrec.artefacts import BUNDLE, CACHE, IMAGES, MANIFEST, SPLITS, stage_folder
from fastrec.records import CacheInfo
from fastrec.run import Run
from fastrec.train import architectures

CLASSES = ["$5 and $6", "<img src=x onerror=alert(1)>", "дом"]
SIZE, MEAN, STD = 16, [0.4, 0.4, 0.4], [0.25, 0.25, 0.25]
SHARES = {"train": 90, "valid": 45, "test": 120}


def build(name: str = "toy", seed: int = 0) -> Run:
    """Write every artefact up to the bundles ``03_train/fastnet`` and ``04_tune/best`` below FASTREC_HOME."""
    rng = np.random.default_rng(seed)
    run, n = Run(name), sum(SHARES.values())
    codes = rng.permutation(np.arange(n) % len(CLASSES))
    pixels = _pictures(rng, codes)
    splits = _splits(pixels, codes)
    with run.writing(IMAGES) as path, path.open("wb") as stream:
        np.save(stream, pixels)
    run.write(SPLITS, splits)
    run.write(MANIFEST, _manifest(splits))
    run.write(CACHE, CacheInfo(n=n, size=SIZE, resize="squish", mean=MEAN, std=STD, classes=CLASSES))
    train = splits.loc[splits["split"] == "train", "row"].to_numpy()
    save_bundle(run, "train", "fastnet", _trained(pixels[train], codes[train], 30), accuracy=0.9, loss=0.3)
    save_bundle(run, "tune", "best", _trained(pixels[train], codes[train], 6), accuracy=0.8, loss=0.5)
    return run


def _pictures(rng: np.random.Generator, codes: np.ndarray) -> np.ndarray:
    """Paint noise with one channel brighter; some pictures say another colour than their label."""
    painted = np.where(rng.random(len(codes)) < 0.08, (codes + 1) % len(CLASSES), codes)
    pixels = rng.normal(90, 40, (len(codes), SIZE, SIZE, 3))
    pixels[np.arange(len(codes)), ..., painted] += rng.normal(35, 12, len(codes))[:, None, None]
    return np.clip(pixels, 0, 255).astype(np.uint8)


def _splits(pixels: np.ndarray, codes: np.ndarray) -> pd.DataFrame:
    ids = [hashlib.sha256(picture.tobytes()).hexdigest() for picture in pixels]
    return pd.DataFrame(
        {
            "image_id": ids,
            "label": np.array(CLASSES, object)[codes],
            "split": np.repeat(list(SHARES), list(SHARES.values())),
            "fold": -1,
            "group": ids,
            "row": np.arange(len(ids)),
        }
    )


def _manifest(splits: pd.DataFrame) -> pd.DataFrame:
    n = len(splits)
    fixed = {"split_hint": None, "mode": "RGB", "format": "PNG", "bytes": 900, "box": None, "source": "toy"}
    return pd.DataFrame(
        {
            "image_id": splits["image_id"],
            "path": [f"data/{k}.png" for k in range(n)],
            "labels": [[label] for label in splits["label"]],
            "group": splits["group"],
            "width": 20 + np.arange(n) % 7,
            "height": 20,
            "warnings": [[] for _ in range(n)],
            **fixed,
        }
    )


def _trained(pixels: np.ndarray, codes: np.ndarray, steps: int) -> torch.nn.Module:
    torch.manual_seed(0)
    network = architectures.build("fastnet", len(CLASSES), width=8)
    inputs = (torch.from_numpy(pixels.copy()).permute(0, 3, 1, 2).float() / 255 - 0.4) / 0.25
    optimizer = torch.optim.AdamW(network.parameters(), 0.01)
    for _ in range(steps):
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(network(inputs), torch.from_numpy(codes)).backward()
        optimizer.step()
    return network


def save_bundle(run: Run, stage: str, name: str, network: torch.nn.Module, **changes: object) -> Path:
    """Write a bundle that fits the run; ``accuracy`` and ``loss`` are its valid figures."""
    valid = {key: float(changes.pop(key)) for key in ("accuracy", "loss") if key in changes}
    fields = {
        "name": name,
        "stage": stage_folder(stage),
        "run": run.name,
        "architecture": "fastnet",
        "architecture_options": {"width": 8},
        "classes": CLASSES,
        "preprocessing": {"size": SIZE, "resize": "squish", "mean": MEAN, "std": STD},
        "parameters": architectures.parameter_count(network),
        "valid": valid | {"macro_f1": 0.5},
        "data_sha256": files.checksum(run.path(SPLITS)),
    }
    with run.writing(BUNDLE, name, stage) as folder:
        bundles.save(folder, network.state_dict(), **(fields | changes))
    return run.path(BUNDLE, name, stage)
