"""A small multi-label run with real files: each of three hostile class names adds a bright square of its own colour."""

from __future__ import annotations

import hashlib
import io

import numpy as np
import pandas as pd
from PIL import Image

from fastrec import files
from fastrec.artefacts import MANIFEST, SPLITS, stage_folder, stage_record
from fastrec.preprocess import cache, splits
from fastrec.records import StageRecord
from fastrec.run import Run
from fastrec.train import learner
from fastrec.train.recipe import Recipe
from fastrec.train.training import fit

CLASSES = ["$5 and $6", "<img src=x onerror=alert(1)>", "дом"]
SIZE = 16
RECIPE = Recipe(options={"width": 8}, epochs=8, batch_size=16, learning_rate=0.02, augment="none")


def build(name: str = "several", n: int = 180) -> Run:
    """Write every artefact up to SPLITS and the cache below FASTREC_HOME."""
    run = Run(name)
    rng = np.random.default_rng(0)
    manifest = pd.DataFrame([_row(run, k, np.flatnonzero(rng.random(3) < 0.45), rng) for k in range(n)])
    run.write(MANIFEST, manifest)
    table = splits.split(manifest)
    run.write(SPLITS, table)
    cache.build(run, manifest, table, SIZE)
    return run


def _row(run: Run, number: int, held: np.ndarray, rng: np.random.Generator) -> dict:
    width, height = 20 + number % 7, 20
    pixels = rng.integers(0, 60, (height, width, 3))
    for k in held:
        top, left = rng.integers(0, 12, 2)
        pixels[top : top + 8, left : left + 8, k] += rng.integers(60, 160)  # now and then too dim to be seen
    stream = io.BytesIO()
    Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8)).save(stream, "PNG")
    path = run.folder.parents[1] / "data" / f"{number:03d}.png"
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(stream.getvalue())
    return {
        "image_id": hashlib.sha256(stream.getvalue()).hexdigest(),
        "path": run.shorten(path),
        "labels": [CLASSES[k] for k in held[::-1]],
        **{"group": None, "split_hint": None, "box": None, "warnings": [], "source": "toy"},
        **{"width": width, "height": height, "mode": "RGB", "format": "PNG", "bytes": len(stream.getvalue())},
    }


def train(run: Run) -> None:
    """Train two bundles, the second far worse, and write the records of their stages."""
    for stage, name, epochs in (("train", "fastnet", 8), ("tune", "best", 1)):
        recipe = Recipe(**(vars(RECIPE) | {"epochs": epochs}))
        learner.save(run, fit(run, recipe), name, stage)
        label = f"{stage_folder(stage)}/{name}"
        outputs = {label: files.checksum(run.folder / label)}
        made = StageRecord(stage=stage, run=run.name, state="done", outputs=outputs, started="then", pid=1, host="here")
        files.write_text(run.path(stage_record(stage)), made.model_dump_json())
