"""Claim: a training step costs little more than PyTorch's own: the same network, loss, optimizer and batches.

The batches are made beforehand, so that neither the loader nor the augmentation counts.  Contestants take turns within
one process: the bare loop, our Learner with all that it guards and records, and fastai's own with its Adam; and ours
in mixed precision, where the processor knows bfloat16.  With
``OMP_NUM_THREADS=1`` the time is that of the processor, which other work on the machine disturbs less.
"""

from __future__ import annotations

import itertools
import os
import sys
import tempfile
import time
from functools import partial

import measure

SIZE, CLASSES = 32, 10
STEPS = {64: 24, 256: 8}  # batch: steps of a round
ALONE = os.environ.get("OMP_NUM_THREADS") == "1"
now = time.process_time if ALONE else time.perf_counter


class Made(list):
    """Batches that were made beforehand, where a loader is asked for."""

    n_inp, start, latest = 1, 0, None

    def to(self, device) -> None:
        """Stay: the benchmark is one of the processor."""


def main(rounds: int = 15) -> None:
    from fastrec.train import hardware

    with tempfile.TemporaryDirectory() as folder:
        os.environ["FASTREC_HOME"] = folder
        run = digits()
        for batch, steps in STEPS.items():
            makers = {"bare PyTorch": bare, "fastrec": fastrec, "fastai": fastai}
            if hardware.knows_bfloat16():
                makers["fastrec, mixed precision"] = partial(fastrec, precision="mixed")
            contestants = {name: make(run, batch, steps) for name, make in makers.items()}
            measure.alternate(contestants, 1)  # warm-up
            found = measure.alternate(contestants, rounds)
            title = (
                f"{'processor ' if ALONE else ''}milliseconds per training step of fastnet at {SIZE} px, batch {batch}"
            )
            measure.report(title, "ms", found, "fastrec", ("torch", "fastai"), digits=2)


def digits():
    """Return a run with the built-in digits in its cache."""
    from fastrec.artefacts import SPLITS
    from fastrec.collect import manifest, sources
    from fastrec.preprocess import cache, splits
    from fastrec.run import Run

    run = Run("bench")
    table, _, _ = manifest.inspect(run, sources.listing("digits").items)
    split = splits.split(table)
    run.write(SPLITS, split)
    cache.build(run, table, split, SIZE)
    return run


def made(dls, steps: int):
    """Return the loaders' first batches in place of the loaders."""
    from fastai.data.core import DataLoaders

    train = Made(itertools.islice(itertools.cycle(list(dls.train)), steps))
    return DataLoaders(train, Made([dls.valid.one_batch()]), path=dls.path, device=dls.device)


def network():
    import torch

    from fastrec.train import architectures

    return architectures.build("fastnet", CLASSES).to(memory_format=torch.channels_last)


def bare(run, batch, steps):
    import torch

    from fastrec.train import loaders
    from fastrec.train.recipe import Recipe

    dls = made(loaders.load(run, Recipe(batch_size=batch)), steps)
    net = network()
    optimizer = torch.optim.AdamW(net.parameters(), fused=True)
    batches = [tuple(part.as_subclass(torch.Tensor) for part in pair) for pair in dls.train]

    def run() -> float:
        began = now()
        for x, y in batches:
            loss = torch.nn.functional.cross_entropy(net(x), y)
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
        return 1000 * (now() - began) / len(batches)

    return run


def clocked(learn, train):
    """Return a function that trains for an epoch and tells the milliseconds of a step, validation left out."""
    from fastai.callback.core import Callback

    class Clock(Callback):
        def before_train(self):
            self.began = now()

        def after_train(self):
            self.spent = now() - self.began

    clock = Clock()
    learn.add_cb(clock)

    def run() -> float:
        with learn.no_bar(), learn.no_logging():
            train()
        return 1000 * clock.spent / len(learn.dls.train)

    return run


def fastrec(run, batch, steps, precision="float32"):
    from fastrec.train import schedules, training
    from fastrec.train.recipe import Recipe

    recipe = Recipe(epochs=1, batch_size=batch, precision=precision)
    learn = training.prepare(run, recipe)
    learn.dls = made(learn.dls, steps)
    return clocked(learn, lambda: schedules.train(learn, recipe))


def fastai(run, batch, steps):
    from fastai.vision.all import CrossEntropyLossFlat, F1Score, Learner, accuracy

    from fastrec.train import loaders
    from fastrec.train.recipe import Recipe

    dls = made(loaders.load(run, Recipe(batch_size=batch)), steps)

    learn = Learner(
        dls, network(), loss_func=CrossEntropyLossFlat(), metrics=[accuracy, F1Score(average="macro")], path=dls.path
    )
    return clocked(learn, lambda: learn.fit_one_cycle(1, 0.01))


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 15)
