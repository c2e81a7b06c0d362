"""Claim: in five minutes on a CPU, from scratch, ``fastnet`` learns far more of CIFAR-10 than fastai's default.

Both see the same 45,000 pictures, may use the same wall clock, and are judged once on the same 5,000.  Each sizes its
schedule by a short rehearsal, which is part of its time, so that it ends in time on a slow machine and on a fast one.
Not on the clock, and printed: imports, and for fastrec reading, splitting and caching, which a run does once.

    FASTREC_DATA=FOLDER python benchmarks/five_minutes.py [--seconds 300] [--rounds 5] [--limit PICTURES_PER_CLASS]
"""

from __future__ import annotations

import argparse
import itertools
import os
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import measure

REHEARSAL = 0.04  # of the time
MARGIN = 0.97  # of the rest is planned with: machines are not even
FASTAI_RATE = 3e-3  # fastai's own finder suggests 1e-3 to 4e-3 here


@dataclass
class Outcome:
    """What one training came to."""

    accuracy: float
    seconds: float
    images: int
    epochs: int
    parameters: int


def main() -> None:
    asked = arguments()
    archive = Path(os.environ.get("FASTREC_DATA", "")) / "cifar10.zip"
    if not archive.is_file():
        sys.exit("FASTREC_DATA names no folder with cifar10.zip: set it to the folder that holds it.")
    with tempfile.TemporaryDirectory() as folder:
        os.environ["FASTREC_HOME"] = folder
        run, root = prepared(archive, Path(folder), asked.limit)
        contestants = {"fastrec fastnet": ours(run), "fastai resnet18": fastai(run, root)}
        found: dict[str, list[Outcome]] = {name: [] for name in contestants}
        for number in range(asked.rounds):
            for name, train in contestants.items():
                outcome = train(asked.seconds, number)
                found[name].append(outcome)
                print(f"  round {number + 1}, {name}: {outcome}", flush=True)
    report(found, asked.seconds)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=300, help="of training, for each contestant and round")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--limit", type=int, help="pictures of each class, for a trial")
    return parser.parse_args()


def report(found: dict[str, list[Outcome]], seconds: float) -> None:
    """Print a line for each contestant, and what is needed to judge it."""
    accuracies = {name: [100 * one.accuracy for one in outcomes] for name, outcomes in found.items()}
    measure.report(
        f"accuracy on pictures of CIFAR-10 kept back, after {seconds:.0f} s from scratch",
        "%",
        accuracies,
        None,
        ("fastrec", "fastai", "torch", "torchvision"),
        digits=2,
    )
    for name, outcomes in found.items():
        one = outcomes[-1]
        print(f"  {name}: {one.parameters:,} parameters; last round {one.images:,} images seen, {one.seconds:.0f} s")


# ----------------------------------------------------------------------------- the data, once


def prepared(archive: Path, folder: Path, limit: int | None) -> tuple[Any, Path]:
    """Unzip, collect, split and cache; tell how long each took."""
    from fastrec.artefacts import MANIFEST, SPLITS
    from fastrec.collect import manifest, sources
    from fastrec.preprocess import cache, splits
    from fastrec.run import Run

    root = timed("unzip", lambda: measure.unzipped(archive, folder / "pictures", limit))
    run = Run("bench")
    table = timed("collect", lambda: manifest.inspect(run, sources.listing(f"folder:{root}").items)[0])
    split = timed("split", lambda: splits.split(table, 0.05, 0.05))
    split["split"] = split["split"].replace("test", "valid")  # nothing is chosen here, so one part is enough
    run.write(MANIFEST, table)
    run.write(SPLITS, split)
    timed("cache", lambda: cache.build(run, table, split, 32))
    print(f"before the clock: {dict(split['split'].value_counts())}")
    return run, root


def timed(name: str, work: Callable[[], Any]) -> Any:
    """Do it, and print its seconds."""
    began = time.perf_counter()
    made = work()
    print(f"before the clock: {name} {time.perf_counter() - began:.1f} s", flush=True)
    return made


# ----------------------------------------------------------------------------- the clock


def deadline(end: float) -> Any:
    """Return a callback that counts pictures, leaves validation out, and ends the training when the time is up."""
    from fastai.callback.core import Callback, CancelFitException, CancelValidException

    class Deadline(Callback):
        order, images, first, began = 90, 0, 0, 0.0

        def after_batch(self) -> None:
            """Count; what comes after the first step, with which processes and kernels start, tells the rate."""
            if not self.training:
                return
            self.images, now = self.images + len(self.xb[0]), time.perf_counter()
            if not self.first:
                self.first, self.began = self.images, now
            self.rate = (self.images - self.first) / max(1e-9, now - self.began)
            if now > end and self.images > 8 * self.first:  # fewer steps tell no rate
                raise CancelFitException

        def before_validate(self) -> None:
            raise CancelValidException

    return Deadline()


def sized(rate: float, seconds: float, pictures: int) -> tuple[int, int]:
    """Return whole epochs that end in time, and of how many pictures: all, unless not even one epoch fits."""
    affordable = int(rate * seconds * MARGIN)
    return max(1, affordable // pictures), min(pictures, affordable)


# ----------------------------------------------------------------------------- contestants


def ours(run: Any) -> Callable[[float, int], Outcome]:
    """Train by a recipe, as notebook 3 does."""
    from fastrec.train import architectures, learner, schedules, training
    from fastrec.train.recipe import Recipe
    from fastrec.train.resizing import side

    recipe = Recipe(
        options={"width": 32},
        precision="mixed",  # where the processor knows bfloat16
        batch_size=256,
        augment="shift",
        flip=True,
        start_size=0.75,
        label_smoothing=0.2,
        optimizer="sgd",
        learning_rate=0.4,
        weight_decay=0.0015,
    )

    def full_passes(epochs: int) -> float:
        """Return how many passes at full size cost as much: smaller pictures cost less, by their area."""
        return sum((side(32, recipe.start_size, epoch, epochs) / 32) ** 2 for epoch in range(epochs))

    def attempt(recipe: Recipe, end: float) -> tuple[Any, Any]:
        learn, clock = training.prepare(run, recipe), deadline(end)
        with learn.no_bar(), learn.no_logging():
            schedules.train(learn, recipe, [clock])
        return learn, clock

    def train(seconds: float, seed: int) -> Outcome:
        began = time.perf_counter()
        learn, clock = attempt(replace(recipe, epochs=1000, start_size=1.0, seed=seed), began + REHEARSAL * seconds)
        left = began + seconds - time.perf_counter()
        affordable = clock.rate * left * MARGIN / len(learn.dls.train_ds)  # passes at full size
        epochs = next(n for n in itertools.count(1) if full_passes(n + 1) > affordable)
        learn, clock = attempt(replace(recipe, epochs=epochs, seed=seed), began + seconds)
        spent = time.perf_counter() - began
        accuracy = learner.validate(learn)["accuracy"]
        return Outcome(accuracy, spent, clock.images, epochs, architectures.parameter_count(learn.model))

    return train


def fastai(run: Any, root: Path) -> Callable[[float, int], Outcome]:
    """Train as fastai's documentation does: its own loaders, transforms, network and one-cycle."""
    from fastai.vision.all import (
        CrossEntropyLossFlat,
        ImageDataLoaders,
        Normalize,
        accuracy,
        aug_transforms,
        resnet18,
        set_seed,
        vision_learner,
    )

    from fastrec.artefacts import CACHE, MANIFEST, SPLITS

    listed, info = run.read(MANIFEST).merge(run.read(SPLITS)[["image_id", "split"]]), run.read(CACHE)
    table = listed.assign(
        name=[str(run.locate(path)) for path in listed["path"]],
        label=listed["labels"].str[0],
        is_valid=listed["split"] == "valid",
    )

    def attempt(table: Any, epochs: int, end: float) -> tuple[Any, Any]:
        tail = [*aug_transforms(), Normalize.from_stats(info.mean, info.std, cuda=False)]
        dls = ImageDataLoaders.from_df(
            table, "/", fn_col="name", label_col="label", valid_col="is_valid", batch_tfms=tail, device="cpu"
        )
        learn = vision_learner(
            dls, resnet18, pretrained=False, loss_func=CrossEntropyLossFlat(), metrics=accuracy, path=root.parent
        )
        clock = deadline(end)
        with learn.no_bar(), learn.no_logging():
            learn.fit_one_cycle(epochs, FASTAI_RATE, cbs=clock)
        return learn, clock

    def train(seconds: float, seed: int) -> Outcome:
        began = time.perf_counter()
        set_seed(seed)
        _, clock = attempt(table, 1, began + REHEARSAL * seconds)
        left, trained = began + seconds - time.perf_counter(), table[~table["is_valid"]]
        epochs, pictures = sized(clock.rate, left, len(trained))
        chosen = trained.sample(pictures, random_state=seed)
        learn, clock = attempt(table.loc[chosen.index.union(table.index[table["is_valid"]])], epochs, began + seconds)
        spent = time.perf_counter() - began
        with learn.no_bar(), learn.no_logging():
            right = float(learn.validate()[1])
        return Outcome(right, spent, clock.images, epochs, sum(weight.numel() for weight in learn.model.parameters()))

    return train


if __name__ == "__main__":
    main()
