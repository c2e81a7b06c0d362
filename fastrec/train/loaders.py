"""fastai DataLoaders over the cache: a batch is one read of uint8 rows, augmented as a whole."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import torch
from fastai.data.core import DataLoaders, TfmdDL
from fastai.data.transforms import Category, CategoryMap, IntToFloatTensor, Normalize
from fastai.torch_core import TensorCategory, TensorImage

from fastrec.artefacts import CACHE, IMAGES, SPLITS
from fastrec.files import FastrecError
from fastrec.preprocess.augment import batch_transforms
from fastrec.preprocess.splits import rows
from fastrec.run import Run


class CachedImages:
    """The rows of one split: images as uint8 tensors (3, h, w) and their labels as class numbers."""

    def __init__(
        self, images: np.ndarray, rows: np.ndarray, targets: np.ndarray, classes: list[str], split: int
    ) -> None:
        self.images, self.rows, self.targets = images, rows, torch.from_numpy(targets)
        self.vocab = CategoryMap(classes, sort=False)
        self.split_idx = split  # fastai augments where it is 0

    def __len__(self) -> int:
        return len(self.rows)

    def batch(self, indices: list[int]) -> tuple[TensorImage, TensorCategory]:
        """Read many rows at once; the result is already channels-last in memory."""
        pixels = torch.from_numpy(np.asarray(self.images[self.rows[indices]])).permute(0, 3, 1, 2)
        return TensorImage(pixels), TensorCategory(self.targets[indices])

    def __getitem__(self, index: int) -> tuple[TensorImage, TensorCategory]:
        x, y = self.batch([index])
        return x[0], y[0]

    def decode(self, sample: tuple[Any, ...], full: bool = True) -> tuple[Any, ...]:
        """Give fastai's ``show_batch`` the class name behind a class number."""
        image, *target = sample
        return (image, *(Category(self.vocab[int(number)]) for number in target))


class CacheLoader(TfmdDL):
    """A `TfmdDL` that asks its dataset for whole batches instead of joining single items."""

    def create_batches(self, samps: Iterable[int]) -> Iterator[tuple[TensorImage, TensorCategory]]:
        """Yield batches of the sampled indices; the last one may be smaller unless ``drop_last``."""
        samples = iter(samps)
        while indices := list(itertools.islice(samples, self.bs)):
            if len(indices) == self.bs or not self.drop_last:
                yield self.dataset.batch(indices)


def load(run: Run, batch_size: int = 64, augment: str = "light", flip: bool = False, seed: int = 0) -> DataLoaders:
    """Make train and valid loaders over the run's cache.

    Parameters
    ----------
    run
        Its cache and split are read.
    batch_size
        Images per step, at most the train split; the last, smaller batch of a training epoch is dropped.
    augment, flip
        See `fastrec.preprocess.augment.batch_transforms`.
    seed
        Of the shuffling.

    Returns
    -------
    fastai `DataLoaders` with float batches (n, 3, size, size), normalised by the train split's
    channel statistics, and class numbers (n,).  The test split is not among them.

    Raises
    ------
    FastrecError
        If the batch size is under 2, which batch normalisation cannot learn from.
    """
    if batch_size < 2:
        raise FastrecError(f"batch_size is {batch_size}: take at least 2.")
    splits, cached, info = run.read(SPLITS), run.read(IMAGES), run.read(CACHE)
    number = {name: k for k, name in enumerate(info.classes)}
    targets = splits.sort_values("row")["label"].map(number).to_numpy()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    finish = [IntToFloatTensor(), Normalize.from_stats(info.mean, info.std, cuda=device == "cuda")]
    made = []
    for k, split in enumerate(("train", "valid")):
        chosen = rows(splits, [split])
        dataset = CachedImages(cached, chosen, targets[chosen], info.classes, k)
        tail = [*batch_transforms(augment, flip), *finish]
        made.append(_loader(dataset, batch_size, tail, device, shuffle=split == "train"))
    made[0].rng = random.Random(seed)
    dls = DataLoaders(*made, path=run.folder / "03_train")
    dls.vocab = info.classes
    return dls


def _loader(dataset: CachedImages, batch_size: int, tail: list[Any], device: str, shuffle: bool) -> CacheLoader:
    size = min(batch_size if shuffle else 4 * batch_size, len(dataset))  # valid keeps no gradients: more fits
    place = torch.device(device)
    return CacheLoader(
        dataset, bs=size, shuffle=shuffle, drop_last=shuffle, after_batch=tail, num_workers=0, device=place
    )
