"""Claim: what one answer costs above the network's bare forward pass is a fraction of fastai's `Learner.predict`.

From a file's path to label and probabilities: fastai's ``learn.predict`` in PyTorch, ours as deployed (ONNX runtime),
the same architecture and picture.  Each runtime also does the bare forward pass of one prepared picture; what
remains is reading, decoding, resizing and all that surrounds the network, ours with its statistics and warnings.

    python benchmarks/predict.py [ROUNDS]
"""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

import measure
from loaders import pictures

CASES = {  # architecture, its options, side of its pictures, set of them, how many of each class
    "fastnet at 32 px": ("fastnet", {"width": 24}, 32, "cifar10", 60),
    "resnet18 at 128 px": ("resnet18", {}, 128, "imagenette160", 30),
}
ANSWERS = 40  # in a round
WHOLE, BARE, ABOVE = "one picture", "the bare forward pass", "one picture above the bare forward pass"


def milliseconds(call, argument) -> float:
    began = time.perf_counter()
    call(argument)
    return 1000 * (time.perf_counter() - began)


def ours(root: Path, architecture: str, options: dict, size: int):
    from fastrec.artefacts import MANIFEST, SPLITS
    from fastrec.collect import manifest, sources
    from fastrec.deploy import package
    from fastrec.deploy.predictor import Predictor
    from fastrec.preprocess import cache, splits
    from fastrec.run import Run
    from fastrec.train import learner, training
    from fastrec.train.recipe import Recipe

    run = Run("bench")
    table, _, _ = manifest.inspect(run, sources.listing(f"folder:{root}").items)
    run.write(MANIFEST, table)
    split = splits.split(table)
    run.write(SPLITS, split)
    cache.build(run, table, split, size)
    learn = training.prepare(run, Recipe(architecture, options))
    record = learner.save(run, learn, architecture, "train")
    predictor = Predictor(package.build(run, f"{record.stage}/{record.name}"))
    paths = [run.locate(path) for path in table["path"][:: max(1, len(table) // ANSWERS)]][:ANSWERS]
    pixels = run.folder / "02_preprocess" / "images.npy"
    return paths, learn.model, (lambda path: predictor.predict(path.read_bytes())), predictor.scores, pixels


def fastai(root: Path, network, size: int):
    import torch
    from fastai.vision.all import ImageDataLoaders, Learner, Normalize, Resize

    dls = ImageDataLoaders.from_folder(
        root,
        valid_pct=0.1,
        bs=64,
        num_workers=0,
        item_tfms=Resize(size),
        batch_tfms=[Normalize.from_stats([0.5] * 3, [0.25] * 3, cuda=False)],
        device="cpu",
    )
    learn = Learner(dls, network)

    def predict(path):
        with learn.no_bar(), learn.no_logging():
            return learn.predict(path)

    def forward(_):
        with torch.inference_mode():
            return network(prepared)

    prepared = torch.zeros(1, 3, size, size)
    network.eval()
    return predict, forward


def contest(title: str, rounds: int, root: Path, architecture: str, options: dict, size: int) -> None:
    import numpy as np

    paths, network, mine, my_forward, pixels = ours(root, architecture, options, size)
    theirs, their_forward = fastai(root, network, size)
    prepared = list(np.load(pixels)[: len(paths)])
    calls = {"fastrec": (mine, paths, my_forward, prepared), "fastai": (theirs, paths, their_forward, prepared)}
    found: dict[str, dict[str, list[float]]] = {name: {} for name in (WHOLE, BARE, ABOVE)}
    for turn in range(rounds + 1):
        for name, spent in one_round(calls).items():
            for what, value in spent.items():
                found[what].setdefault(name, []).extend([value] if turn else [])  # the first one warms up
    for what, values in found.items():
        report(f"{title}, {what}", values)
    measure.machine(("fastai", "torch", "onnxruntime", "pillow"))


def one_round(calls) -> dict[str, dict[str, float]]:
    """Return medians; answer and forward pass follow each other picture by picture, so that both meet the same load.

    Each contestant gives all its answers in a row, as a service does, with its own code and weights in the caches.
    """
    found = {name: {WHOLE: [], BARE: [], ABOVE: []} for name in calls}
    for name, (answer, paths, forward, prepared) in calls.items():
        for path, pixels in zip(paths, prepared, strict=True):
            whole, bare = milliseconds(answer, path), milliseconds(forward, pixels)
            for what, value in ((WHOLE, whole), (BARE, bare), (ABOVE, whole - bare)):
                found[name][what].append(value)
    return {name: {what: statistics.median(values) for what, values in spent.items()} for name, spent in found.items()}


def report(title: str, values: dict[str, list[float]]) -> None:
    print(f"\n{title}")
    for name, times in values.items():
        ratios = [theirs / mine for mine, theirs in zip(values["fastrec"], times, strict=True)]
        ratio = f"  {statistics.median(ratios):.1f}x ours ({min(ratios):.1f} to {max(ratios):.1f})"
        print(
            f"  {name:12s} {statistics.median(times):8.3f} ms ({min(times):.3f} to {max(times):.3f}, "
            f"n={len(times)} medians of {ANSWERS}){ratio if name != 'fastrec' else ''}"
        )


def main(rounds: int = 5) -> None:
    for title, (architecture, options, size, name, most) in CASES.items():
        with tempfile.TemporaryDirectory() as folder:
            os.environ["FASTREC_HOME"] = folder
            contest(title, rounds, pictures(name, most, Path(folder) / "pictures"), architecture, options, size)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 5)
