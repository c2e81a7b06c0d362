"""Claim: batches from the cache come several times faster than from files, with the same augmentations.

Each contestant gives one epoch of batches of 64 on the processor: decoded, resized, augmented (flip, rotation,
zoom, lighting), normalised.  Ours reads the cache; the time to build it is printed too.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
import zipfile
from pathlib import Path

import measure


def pictures(folder: Path) -> tuple[Path, int]:
    """Return class folders of real pictures and their size: 2,000 of CIFAR-10, else the digits."""
    data = os.environ.get("FASTREC_DATA")
    if data and (Path(data) / "cifar10.zip").is_file():
        with zipfile.ZipFile(Path(data) / "cifar10.zip") as archive:
            names = [name for name in archive.namelist() if name.endswith(".jpg") and name[-8:-4] < "0200"]
            archive.extractall(folder, names)
        return folder / "train", 32
    print("FASTREC_DATA names no cifar10.zip: the built-in digits are used")
    from fastrec.collect.sources import listing

    listing("digits")
    return Path(os.environ["FASTREC_HOME"]) / "data" / "digits", 32


def main(rounds: int = 5) -> None:
    with tempfile.TemporaryDirectory() as folder:
        os.environ["FASTREC_HOME"] = folder
        root, size = pictures(Path(folder) / "pictures")
        found = measure.alternate(
            {"fastrec": ours(root, size), "fastai": fastai(root, size), "torchvision": torchvision(root, size)}, rounds
        )
        measure.report(
            f"images per second at {size} px", "images/s", found, "fastrec", ("fastai", "torchvision", "torch")
        )


def ours(root: Path, size: int):
    from fastrec.artefacts import SPLITS
    from fastrec.collect import manifest, sources
    from fastrec.preprocess import cache, splits
    from fastrec.run import Run
    from fastrec.train import loaders

    run, source = Run("bench"), f"folder:{root}"
    began = time.perf_counter()
    table, _, _ = manifest.inspect(run, sources.listing(source).items)
    split = splits.split(table, 0.01, 0.01)
    run.write(SPLITS, split)
    cache.build(run, table, split, size)
    print(f"{len(table)} pictures decoded, checked and cached in {time.perf_counter() - began:.1f} s, once")
    dls = loaders.load(run, 64, "light", flip=True)
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
