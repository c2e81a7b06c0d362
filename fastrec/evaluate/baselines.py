"""What needs no training: the figures a model has to beat before it is worth its cost."""

from __future__ import annotations

import numpy as np
import pandas as pd
from sklearn.dummy import DummyClassifier
from sklearn.neighbors import KNeighborsClassifier

from fastrec import channels, engine, images
from fastrec.artefacts import CACHE, IMAGES, SPLITS
from fastrec.evaluate import metrics
from fastrec.evaluate.predict import split_rows
from fastrec.records import Baseline
from fastrec.run import Run

SIDE = 16  # pixels: what is left of a picture for the nearest neighbour
MOST = 20_000  # train images it looks at
CHUNK = 1_000


def baselines(run: Run, n_boot: int = metrics.N_BOOT, seed: int = 0) -> dict[str, Baseline]:
    """Judge two answers that need no training on the test split.

    ``majority`` always says the most frequent class of train; ``nearest_neighbour`` gives the label
    of the train image whose pixels are closest (Cover and Hart 1967,
    https://doi.org/10.1109/TIT.1967.1053964), both shrunk to at most 16 x 16 pixels.  With several labels
    the most frequent set of them, and the neighbour's set.
    """
    table, cache = run.read(SPLITS), run.read(CACHE)
    train, test = table[table["split"] == "train"], split_rows(run, "test")
    seen = train.sort_values("image_id").head(MOST)  # in the order of a hash: a fair and stable sample
    many = f"{len(seen)}" if len(seen) == len(train) else f"{len(seen)} of {len(train)}"
    side = min(SIDE, cache.size)
    named = ("set of labels", "labels") if cache.multi_label else ("class", "label")
    guesses = {
        "majority": (f"always the most frequent {named[0]} of the train split", _majority(train, test)),
        "nearest_neighbour": (
            f"{named[1]} of the nearest of {many} train images, by pixels at {side} x {side}",
            _nearest(run.read(IMAGES), seen, test),
        ),
    }
    judged = {}
    for name, (what, guess) in guesses.items():
        found = metrics.from_labels(test["label"], pd.Series(guess), cache.classes, n_boot, seed, cache.multi_label)
        judged[name] = Baseline(accuracy=found["accuracy"], macro_f1=found["macro_f1"], what=what)
    return judged


def _majority(train: pd.DataFrame, test: pd.DataFrame) -> np.ndarray:
    model = DummyClassifier(strategy="most_frequent").fit(train[["row"]], train["label"])
    return model.predict(test[["row"]])


def _nearest(pixels: np.ndarray, train: pd.DataFrame, test: pd.DataFrame) -> np.ndarray:
    model = KNeighborsClassifier(1, algorithm="brute")
    model.fit(_thumbnails(pixels, train["row"].to_numpy()), train["label"].to_numpy(str))
    rows = test["row"].to_numpy()
    chunks = [rows[start : start + CHUNK] for start in range(0, len(rows), CHUNK)]
    parts = engine.progress(chunks, len(chunks), "nearest neighbour", unit="batch")
    return np.concatenate([model.predict(_thumbnails(pixels, chunk)) for chunk in parts])


def _thumbnails(pixels: np.ndarray, rows: np.ndarray) -> np.ndarray:
    side = min(SIDE, pixels.shape[1])
    return np.stack([images.resize(channels.expanded(pixels[row]), side).ravel() for row in rows]).astype(np.float32)
