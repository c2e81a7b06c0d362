"""Claim: with few labels, a start from another run's bundle beats a start from scratch; no network is needed.

``fastnet`` is pretrained on eight classes of CIFAR-10, then learns the other two from 25 and from 100 pictures of each,
beside the same network from scratch: the same pictures, as many steps.  Each chooses its learning rate in a rehearsal
on a draw of its own, and is judged on the same pictures of the two classes, which nobody has trained on.

    FASTREC_DATA=FOLDER python benchmarks/pretrain.py [--seeds 7] [--classes cat dog] [--quick]
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import measure
import numpy as np
from five_minutes import timed

ALL = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
RATES = (1e-3, 3e-3, 1e-2, 3e-2)
BUNDLE = "eight/03_train/fastnet"
REHEARSAL = 1000  # a seed that is not judged


def main() -> None:
    asked = arguments()
    archive = Path(os.environ.get("FASTREC_DATA", "")) / "cifar10.zip"
    if not archive.is_file():
        sys.exit("FASTREC_DATA names no folder with cifar10.zip: set it to the folder that holds it.")
    with tempfile.TemporaryDirectory() as folder:
        os.environ["FASTREC_HOME"] = folder
        root = timed(
            "unzip", lambda: measure.unzipped(archive, Path(folder) / "pictures", 2000 if asked.quick else None)
        )
        pretrained(root, asked.classes, epochs=4 if asked.quick else 8)
        two, table = prepared("two", root, [name for name in ALL if name not in asked.classes], judged=0.4)
        for shots in (25, 100):
            compare(two, table, shots, range(asked.seeds), steps=80 if asked.quick else 120)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=7, help="draws of pictures and weights")
    parser.add_argument("--classes", nargs=2, default=["cat", "dog"], choices=ALL, help="that are learnt from few")
    parser.add_argument("--quick", action="store_true", help="2,000 pictures of each class, fewer steps: a trial")
    return parser.parse_args()


def prepared(name: str, root: Path, without: list[str], judged: float) -> tuple[Any, Any]:
    """Collect, split and cache the pictures of some classes; return the run and its split."""
    from fastrec.artefacts import MANIFEST, SPLITS
    from fastrec.collect import manifest, sources
    from fastrec.preprocess import cache, splits
    from fastrec.run import Run

    run = Run(name)
    listed = sources.listing(f"folder:{root}", [f"{each}=" for each in without])
    table = timed(f"collect {name}", lambda: manifest.inspect(run, listed.items)[0])
    split = splits.split(table, 0.01, judged)
    split["split"] = split["split"].replace({"valid": "train", "test": "valid"})  # one part is judged, once
    run.write(MANIFEST, table)
    run.write(SPLITS, split)
    timed(f"cache {name}", lambda: cache.build(run, table, split, 32))
    return run, split


def pretrained(root: Path, without: list[str], epochs: int) -> None:
    """Train on the eight other classes and keep the bundle."""
    from fastrec.train import learner, training
    from fastrec.train.recipe import Recipe

    run, _ = prepared("eight", root, without, judged=0.05)
    recipe = Recipe(
        options={"width": 24},
        epochs=epochs,
        batch_size=256,
        augment="shift",
        flip=True,
        label_smoothing=0.1,
        optimizer="sgd",
        learning_rate=0.4,
        weight_decay=0.0015,
    )
    learn = timed("pretraining", lambda: training.fit(run, recipe, [unwatched()]))
    accuracy = learner.save(run, learn, "fastnet", "train").valid["accuracy"]
    print(f"before the clock: {accuracy:.1%} right of the eight classes after {epochs} epochs", flush=True)


def unwatched() -> Any:
    """Return a callback that leaves validation out while training."""
    from fastai.callback.core import Callback, CancelValidException

    class Unwatched(Callback):
        order = 90

        def before_validate(self) -> None:
            raise CancelValidException

    return Unwatched()


def compare(run: Any, split: Any, shots: int, seeds: range, steps: int) -> None:
    """Train from both starts on the same few pictures, seed by seed, and print what they came to."""
    from fastrec.train.recipe import Recipe

    batch = min(50, shots)
    epochs = steps * batch // (2 * shots)
    plain = Recipe(options={"width": 24}, batch_size=batch, epochs=epochs, augment="shift", flip=True)
    head = epochs // 5  # of the same number of passes
    tuned = replace(plain, pretrained=BUNDLE, epochs=epochs - head, frozen_epochs=head, rate_spread=10.0)
    recipes = {"from scratch": plain, f"from {BUNDLE}": tuned}
    for name, recipe in recipes.items():
        tried = {rate: judged(run, split, shots, replace(recipe, learning_rate=rate), REHEARSAL) for rate in RATES}
        recipes[name] = replace(recipe, learning_rate=max(tried, key=tried.__getitem__))
        print(f"  rehearsal, {shots} of each, {name}: {tried}", flush=True)
    found = {name: [judged(run, split, shots, recipe, seed) for seed in seeds] for name, recipe in recipes.items()}
    libraries = ("fastrec", "fastai", "torch")
    count = (split["split"] == "valid").sum()
    measure.report(f"accuracy on {count:,} pictures, learnt from {shots} of each", "%", found, None, libraries)
    gains = [after - before for before, after in zip(*found.values(), strict=True)]
    better = sum(gain > 0 for gain in gains)
    print(
        f"  paired difference: median {statistics.median(gains):+.1f} points ({min(gains):+.1f} to {max(gains):+.1f}, "
        f"n={len(gains)}), better in {better} of {len(gains)}",
        flush=True,
    )


def judged(run: Any, split: Any, shots: int, recipe: Any, seed: int) -> float:
    """Train on ``shots`` pictures of each class, drawn by the seed; return the percentage right of the judged part."""
    from fastrec.artefacts import SPLITS
    from fastrec.train import learner, training

    source = np.random.default_rng(seed)
    train = split[split["split"] == "train"]
    chosen = train.groupby("label")["row"].apply(lambda rows: source.choice(rows.to_numpy(), shots, replace=False))
    few = split.copy()
    few.loc[train.index, "split"] = "test"  # unused
    few.loc[few["row"].isin(np.concatenate(chosen.to_list())), "split"] = "train"
    run.write(SPLITS, few)
    learn = training.fit(run, replace(recipe, seed=seed), [unwatched()])
    return round(100 * learner.validate(learn)["accuracy"], 2)


if __name__ == "__main__":
    main()
