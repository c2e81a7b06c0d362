"""fastai DataLoaders over the cache: a batch is one read of uint8 rows, augmented as a whole."""

from __future__ import annotations

import hashlib
import itertools
import math
import random
from collections.abc import Iterable, Iterator
from typing import Any, TypeAlias

import fastai.vision.data  # noqa: F401 (gives show_batch its grid of pictures)
import numpy as np
import pandas as pd
import torch
from fastai.data.core import DataLoaders, TfmdDL
from fastai.data.transforms import Category, CategoryMap, MultiCategory
from fastai.torch_core import TensorCategory, TensorImage, TensorMultiCategory

from fastrec import allocation, labels
from fastrec.artefacts import CACHE, IMAGES, SPLITS
from fastrec.files import FastrecError
from fastrec.preprocess import augment as augmentation
from fastrec.preprocess.splits import rows
from fastrec.records import CacheInfo
from fastrec.run import Run
from fastrec.train import balance
from fastrec.train.prepare import Prepare
from fastrec.train.recipe import Recipe

KEPT = 2**31 - 1  # bytes of freed memory that stay for the next batches and activations
HELD = 0.25  # share of a GPU's free memory that the pictures may take
Target: TypeAlias = TensorCategory | TensorMultiCategory


class CachedImages:
    """The rows of one split: images as uint8 tensors (channels, h, w), labels as class numbers or indicators."""

    def __init__(
        self, images: np.ndarray, rows: np.ndarray, targets: np.ndarray, classes: list[str], split: int
    ) -> None:
        self.images, self.rows, self.targets = np.asarray(images), rows, torch.from_numpy(targets)
        self.vocab = CategoryMap(classes, sort=False)
        self.split_idx = split  # 0 is train
        self.kind: type[Target] = TensorCategory if targets.ndim == 1 else TensorMultiCategory
        self.n_inp = 1  # told, since fastai would find out by a trial pass amid the first step
        self._held: tuple[torch.Tensor, torch.Tensor] | None = None

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def bytes(self) -> int:
        """What the pictures take in memory."""
        return len(self.rows) * math.prod(self.images.shape[1:])

    def hold(self, device: torch.device) -> None:
        """Keep all pictures on a device, as bytes: a batch is then a choice among them, and none has to travel."""
        pixels = torch.from_numpy(np.asarray(self.images[self.rows])).to(device)
        self._held = pixels.permute(0, 3, 1, 2), self.targets.to(device)

    def batch(self, indices: list[int]) -> tuple[TensorImage, Target]:
        """Read many rows at once; the result is already channels-last in memory."""
        if self._held is not None:
            pixels, targets = self._held
            chosen = torch.tensor(indices, device=pixels.device)
            return TensorImage(pixels[chosen]), self.kind(targets[chosen])
        pixels = torch.from_numpy(np.asarray(self.images[self.rows[indices]])).permute(0, 3, 1, 2)
        return TensorImage(pixels), self.kind(self.targets[indices])

    def __getitem__(self, index: int) -> tuple[TensorImage, Target]:
        x, y = self.batch([index])
        return x[0], y[0]

    def decode(self, sample: tuple[Any, ...], full: bool = True) -> tuple[Any, ...]:
        """Give fastai's ``show_batch`` the class name behind a class number, or the names behind indicators."""
        image, *target = sample
        return (image.expand(3, -1, -1), *(self._named(one) for one in target))  # matplotlib would colour a grey one

    def _named(self, target: torch.Tensor) -> Category | MultiCategory:
        if self.kind is TensorCategory:
            return Category(self.vocab[int(target)])
        return MultiCategory(self.vocab[int(number)] for number in target.nonzero())


class CacheLoader(TfmdDL):
    """A `TfmdDL` that asks its dataset for whole batches instead of joining single items.

    While training, the order of an epoch's pictures and the randomness of a step follow from ``seed``,
    ``round`` (the number of the fit and of the epoch) and the step's number alone: a step is the same
    whatever was done before it, so a training that was killed can go on at any step.
    """

    latest = np.array([], int)  # cache rows of the batch given last
    seed, round, start = 0, (0, 0), 0  # start: the first step to give, those before it were done already
    chances: list[float] | None = None  # with which pictures are drawn; None shows each once an epoch
    prepare: Prepare | None = None  # what makes the batches ready; it is told which pictures to mirror

    def get_idxs(self) -> list[int]:
        """Return the pictures in the order of this epoch."""
        places, draw = range(self.n), random.Random(f"{self.seed} {self.round}")
        if not self.shuffle:
            return list(places)
        return draw.sample(places, self.n) if self.chances is None else draw.choices(places, self.chances, k=self.n)

    def mirrored(self) -> np.ndarray:
        """Return which pictures this epoch shows mirrored: a random half, and in the next epoch the others.

        So two epochs show both sides of every picture (Jordan 2024, https://arxiv.org/abs/2404.00498).
        """
        half = np.random.default_rng(_number(f"{self.seed} mirrored")).random(self.n) < 0.5
        return np.logical_xor(half, sum(self.round) % 2 == 1)

    def create_batches(self, samps: Iterable[int]) -> Iterator[tuple[TensorImage, Target]]:
        """Yield batches of the sampled indices; the last one may be smaller unless ``drop_last``."""
        samples, step, mirrored = iter(samps), 0, self.mirrored()
        while indices := list(itertools.islice(samples, self.bs)):
            if step >= self.start and (len(indices) == self.bs or not self.drop_last):
                if self.shuffle:
                    _reseed(f"{self.seed} {self.round} {step}", self.device)
                self.latest = self.dataset.rows[indices]
                if self.prepare is not None and self.chances is None:  # drawn twice, a picture shall not look the same
                    self.prepare.mirrored = torch.from_numpy(mirrored[indices])
                yield self.dataset.batch(indices)
            step += 1


def _reseed(name: str, device: torch.device) -> None:
    """Seed all generators that augmentation, dropout and fastai draw from."""
    number = _number(name)
    random.seed(number)
    np.random.seed(number)  # noqa: NPY002 (the global one is what libraries draw from)
    torch.default_generator.manual_seed(number)  # torch.manual_seed writes down the whole stack, for devices to come
    if device.type == "cuda":
        torch.cuda.manual_seed_all(number)


def _number(name: str) -> int:
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:4])


def load(run: Run, recipe: Recipe, held_out: np.ndarray | None = None) -> DataLoaders:
    """Make train and valid loaders over the run's cache.

    Parameters
    ----------
    run
        Its cache and split are read.
    recipe
        Its ``batch_size``: images per step, at most the train split; the last, smaller batch of a training epoch
        is dropped.  ``augment``, ``flip`` and ``erase``: see `fastrec.preprocess.augment.named`; the valid split is
        never augmented.  ``balance``: see `fastrec.train.balance.chances`.  ``seed``: of shuffling and augmentation.
    held_out
        Cache rows that take the place of the valid split; all others outside test then train.

    Returns
    -------
    fastai `DataLoaders` with float batches (n, channels, size, size), normalised by the train split's
    channel statistics, and class numbers (n,) or, with several labels, indicators (n, classes) as
    floats, which ``multi_label`` of the result tells.  The test split is not among them.

    Raises
    ------
    FastrecError
        If the batch size is under 2, which batch normalisation cannot learn from.
    """
    if recipe.batch_size < 2:
        raise FastrecError(f"batch_size is {recipe.batch_size}: take at least 2.")
    allocation.keep_freed(KEPT)
    splits, cached, info = run.read(SPLITS), run.read(IMAGES), run.read(CACHE)
    targets = _targets(splits.sort_values("row")["label"], info)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    varied, made = augmentation.named(recipe.augment, recipe.flip, recipe.erase), []
    for k, split in enumerate(("train", "valid")):
        chosen = rows(splits, [split]) if held_out is None else _sides(splits, held_out)[k]
        dataset = CachedImages(cached, chosen, targets[chosen], info.classes, k)
        tail = Prepare(info.mean, info.std, varied if split == "train" else None)
        made.append(_loader(dataset, recipe.batch_size, tail, device, shuffle=split == "train"))
    if device == "cuda":
        _hold(made)
    made[0].seed, made[0].chances = recipe.seed, balance.chances(recipe.balance, made[0].dataset.targets)
    dls = DataLoaders(*made, path=run.folder / "03_train")
    dls.vocab, dls.multi_label, dls.size, dls.channels = info.classes, info.multi_label, info.size, info.channels
    dls.image_ids = splits.sort_values("row")["image_id"].to_numpy()  # by cache row
    return dls


def _hold(made: list[CacheLoader]) -> None:
    """Keep the pictures on the GPU if they take a small part of its free memory."""
    free, _ = torch.cuda.mem_get_info()
    if sum(loader.dataset.bytes for loader in made) < HELD * free:
        for loader in made:
            loader.dataset.hold(loader.device)


def _targets(texts: pd.Series, info: CacheInfo) -> np.ndarray:
    if info.multi_label:
        return labels.indicators(texts, info.classes).astype(np.float32)
    return texts.map({name: k for k, name in enumerate(info.classes)}).to_numpy()


def _sides(splits: pd.DataFrame, held_out: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the rows to train and to validate on; none of the test split is among them."""
    outside = rows(splits, ["train", "valid"])
    return np.setdiff1d(outside, held_out), np.intersect1d(outside, held_out)


def _loader(dataset: CachedImages, batch_size: int, tail: Prepare, device: str, shuffle: bool) -> CacheLoader:
    size = min(batch_size if shuffle else 4 * batch_size, len(dataset))  # valid keeps no gradients: more fits
    place = torch.device(device)
    made = CacheLoader(
        dataset, bs=size, shuffle=shuffle, drop_last=shuffle, after_batch=[tail], num_workers=0, device=place
    )
    made.prepare = tail
    return made
