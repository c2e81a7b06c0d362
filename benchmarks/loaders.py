"""Claim: batches from the cache come several times faster than from files, with the same augmentations.

Each contestant gives one epoch of batches of 64 on the processor: decoded, resized, augmented (flip, rotation,
zoom, lighting), normalised.  Ours reads the cache; the time to build it is printed too.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from pathlib import Path

import measure

SIZES = {32: ("cifar10", 200), 128: ("imagenette160", 128), 224: ("imagenette160", 64)}  # set, pictures of each class


def pictures(name: str, most: int, folder: Path) -> Path:
    """Return class folders with the first pictures of each class of a real set, else the built-in digits."""
    archive = Path(os.environ.get("FASTREC_DATA", "")) / f"{name}.zip"
    if not archive.is_file():
        print(f"FASTREC_DATA names no {name}.zip: the built-in digits are used")
        from fastrec.collect.sources import listing

        listing("digits")
        return Path(os.environ["FASTREC_HOME"]) / "data" / "digits"
    return measure.unzipped(archive, folder, most)


def main(rounds: int = 5) -> None:
    for size, (name, most) in SIZES.items():
        with tempfile.TemporaryDirectory() as folder:
            os.environ["FASTREC_HOME"] = folder
            root = pictures(name, most, Path(folder) / "pictures")
            makers = {"fastrec": ours, "fastai": fastai, "torchvision": torchvision}
            found = measure.alternate({name: make(root, size) for name, make in makers.items()}, rounds)
        measure.report(
            f"images per second at {size} px", "images/s", found, "fastrec", ("fastai", "torchvision", "torch")
        )


def ours(root: Path, size: int):
    from fastrec.artefacts import SPLITS
    from fastrec.collect import manifest, sources
    from fastrec.preprocess import cache, splits
    from fastrec.run import Run
    from fastrec.train import loaders
    from fastrec.train.recipe import Recipe

    run, source = Run("bench"), f"folder:{root}"
    began = time.perf_counter()
    table, _, _ = manifest.inspect(run, sources.listing(source).items)
    split = splits.split(table, 0.01, 0.01)
    run.write(SPLITS, split)
    cache.build(run, table, split, size)
    print(f"{len(table)} pictures decoded, checked and cached in {time.perf_counter() - began:.1f} s, once")
    dls = loaders.load(run, Recipe(flip=True))
    return lambda: measure.rate(lambda: sum(len(batch[0]) for batch in dls.train))


def fastai(root: Path, size: int):
    from fastai.vision.all import ImageDataLoaders, Normalize, Resize, aug_transforms

    made = ImageDataLoaders.from_folder(
        root,
        valid_pct=0.01,
        bs=64,
        num_workers=2,
        item_tfms=Resize(size),
        batch_tfms=[
            *aug_transforms(max_rotate=5, max_zoom=1.05, max_lighting=0.1, max_warp=0),
            Normalize.from_stats([0.5] * 3, [0.25] * 3, cuda=False),
        ],
        device="cpu",
    )
    return lambda: measure.rate(lambda: sum(len(batch[0]) for batch in made.train))


def torchvision(root: Path, size: int):
    import torch
    from torchvision import datasets
    from torchvision import transforms as t

    steps = [
        t.Resize((size, size)),
        t.RandomHorizontalFlip(),
        t.RandomAffine(5, scale=(1, 1.05)),
        t.ColorJitter(0.1, 0.1),
        t.ToTensor(),
        t.Normalize([0.5] * 3, [0.25] * 3),
    ]
    loader = torch.utils.data.DataLoader(
        datasets.ImageFolder(str(root), t.Compose(steps)), 64, shuffle=True, drop_last=True, num_workers=2
    )
    return lambda: measure.rate(lambda: sum(len(batch[0]) for batch in loader))


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 5)
