"""The cached loader: what stock fastai would give, in whole batches."""

import numpy as np
import pytest
import torch

from fastrec.artefacts import CACHE, IMAGES, SPLITS
from fastrec.files import FastrecError
from fastrec.preprocess.splits import rows
from fastrec.train import loaders


def test_valid_batches_are_the_normalised_cache_in_order(run):
    dls = loaders.load(run, batch_size=8)
    info, split = run.read(CACHE), run.read(SPLITS)
    chosen = rows(split, ["valid"])
    x = torch.cat([batch[0] for batch in dls.valid])
    expected = (run.read(IMAGES)[chosen] / 255 - np.array(info.mean)) / np.array(info.std)
    np.testing.assert_allclose(np.asarray(x.permute(0, 2, 3, 1)), expected, atol=1e-5)
    labels = [info.classes[int(k)] for batch in dls.valid for k in batch[1]]
    assert labels == split.set_index("row").loc[chosen, "label"].tolist()


def test_an_epoch_shows_each_train_image_at_most_once_and_none_of_test(run):
    dls = loaders.load(run, batch_size=8, augment="none")
    split = run.read(SPLITS)
    assert set(dls.train_ds.rows) == set(rows(split, ["train"]))
    assert set(dls.train_ds.rows).isdisjoint(rows(split, ["test", "valid"]))
    seen = [tuple(x.flatten()[:50].tolist()) for batch in dls.train for x in batch[0]]
    assert len(seen) == len(rows(split, ["train"])) // 8 * 8
    assert len(set(seen)) == len(seen)


def test_the_seed_decides_the_order(run):
    def order(seed):
        return [int(k) for batch in loaders.load(run, 8, "none", seed=seed).train for k in batch[1]]

    assert order(1) == order(1)
    assert order(1) != order(2)


def test_batches_are_channels_last(run):
    assert loaders.load(run, 8, "none").train_ds.batch([0, 1])[0].is_contiguous(memory_format=torch.channels_last)


def test_fastai_shows_a_batch_with_class_names(run):
    import matplotlib.pyplot as plt

    loaders.load(run, 8).show_batch(max_n=4)
    titles = {axis.get_title() for axis in plt.gcf().axes if axis.get_title()}
    plt.close("all")
    assert titles <= {"cat", "dog"}
    assert titles


def test_a_batch_larger_than_the_split_is_the_whole_split(run):
    x, _ = loaders.load(run, 512).train.one_batch()
    assert len(x) == 36


def test_a_batch_of_one_is_refused(run):
    with pytest.raises(FastrecError, match="batch_size is 1: take at least 2"):
        loaders.load(run, 1)


def test_without_augmentation_the_result_is_fastais_to_the_bit(run):
    from fastai.data.transforms import IntToFloatTensor, Normalize

    dls = loaders.load(run, 8, "none")
    info = run.read(CACHE)
    raw, _ = dls.train_ds.batch([3, 1, 2])
    (ours,) = dls.train.after_batch((raw,))
    theirs = Normalize.from_stats(info.mean, info.std, cuda=False)(IntToFloatTensor()(raw))
    assert torch.equal(ours, theirs)
    assert ours.is_contiguous(memory_format=torch.channels_last)


def test_labels_and_the_valid_split_know_nothing_of_augmentation(run):
    plain, varied = loaders.load(run, 8, "none"), loaders.load(run, 8, "strong", flip=True, erase=1.0)
    for one, other in zip(plain.valid, varied.valid, strict=True):
        assert torch.equal(one[0], other[0])
    for one, other in zip(plain.train, varied.train, strict=True):
        assert torch.equal(one[1], other[1])
        assert not torch.equal(one[0], other[0])
    assert torch.equal(varied.test_dl(varied.valid_ds).one_batch()[0], varied.valid.one_batch()[0])
