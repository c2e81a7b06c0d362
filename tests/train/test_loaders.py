"""The cached loader: what stock fastai would give, in whole batches."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from fastrec.artefacts import CACHE, IMAGES, SPLITS
from fastrec.files import FastrecError
from fastrec.preprocess.splits import rows
from fastrec.train import balance, loaders
from fastrec.train.recipe import Recipe

PLAIN = Recipe(batch_size=8, augment="none")


def test_valid_batches_are_the_normalised_cache_in_order(run):
    dls = loaders.load(run, Recipe(batch_size=8))
    info, split = run.read(CACHE), run.read(SPLITS)
    chosen = rows(split, ["valid"])
    x = torch.cat([batch[0] for batch in dls.valid])
    expected = (run.read(IMAGES)[chosen] / 255 - np.array(info.mean)) / np.array(info.std)
    np.testing.assert_allclose(np.asarray(x.permute(0, 2, 3, 1)), expected, atol=1e-5)
    labels = [info.classes[int(k)] for batch in dls.valid for k in batch[1]]
    assert labels == split.set_index("row").loc[chosen, "label"].tolist()


def test_an_epoch_shows_each_train_image_at_most_once_and_none_of_test(run):
    dls = loaders.load(run, PLAIN)
    split = run.read(SPLITS)
    assert set(dls.train_ds.rows) == set(rows(split, ["train"]))
    assert set(dls.train_ds.rows).isdisjoint(rows(split, ["test", "valid"]))
    seen = [tuple(x.flatten()[:50].tolist()) for batch in dls.train for x in batch[0]]
    assert len(seen) == len(rows(split, ["train"])) // 8 * 8
    assert len(set(seen)) == len(seen)


def test_the_seed_decides_the_order(run):
    def order(seed):
        return [int(k) for batch in loaders.load(run, replace(PLAIN, seed=seed)).train for k in batch[1]]

    assert order(1) == order(1)
    assert order(1) != order(2)


def test_batches_are_channels_last(run):
    assert loaders.load(run, PLAIN).train_ds.batch([0, 1])[0].is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize(("free", "held"), [(10**9, True), (1000, False)])
def test_pictures_kept_on_a_device_make_the_same_batches(run, monkeypatch, free, held):
    plain, kept = (loaders.load(run, Recipe(batch_size=8, augment="medium", flip=True)) for _ in range(2))
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda: (free, free))  # a test has no GPU: the processor stands in
    loaders._hold(kept.loaders)
    assert [loader.dataset._held is not None for loader in kept.loaders] == [held, held]
    for here, there in zip(plain.loaders, kept.loaders, strict=True):
        for (x, y), (same_x, same_y) in zip(here, there, strict=True):
            assert torch.equal(x, same_x)
            assert torch.equal(y, same_y)
            assert same_x.is_contiguous(memory_format=torch.channels_last)


def test_fastai_shows_a_batch_with_class_names(run):
    import matplotlib.pyplot as plt

    loaders.load(run, PLAIN).show_batch(max_n=4)
    titles = {axis.get_title() for axis in plt.gcf().axes if axis.get_title()}
    plt.close("all")
    assert titles <= {"cat", "dog"}
    assert titles


def test_a_batch_larger_than_the_split_is_the_whole_split(run):
    x, _ = loaders.load(run, Recipe(batch_size=512)).train.one_batch()
    assert len(x) == 36


def test_a_batch_of_one_is_refused(run):
    with pytest.raises(FastrecError, match="batch_size is 1: take at least 2"):
        loaders.load(run, Recipe(batch_size=1))


def test_without_augmentation_the_result_is_fastais_to_the_bit(run):
    from fastai.data.transforms import IntToFloatTensor, Normalize

    dls = loaders.load(run, PLAIN)
    info = run.read(CACHE)
    raw, _ = dls.train_ds.batch([3, 1, 2])
    (ours,) = dls.train.after_batch((raw,))
    theirs = Normalize.from_stats(info.mean, info.std, cuda=False)(IntToFloatTensor()(raw))
    assert torch.equal(ours, theirs)
    assert ours.is_contiguous(memory_format=torch.channels_last)


def test_labels_and_the_valid_split_know_nothing_of_augmentation(run):
    plain, varied = loaders.load(run, PLAIN), loaders.load(run, replace(PLAIN, augment="strong", flip=True, erase=1.0))
    for one, other in zip(plain.valid, varied.valid, strict=True):
        assert torch.equal(one[0], other[0])
    for one, other in zip(plain.train, varied.train, strict=True):
        assert torch.equal(one[1], other[1])
        assert not torch.equal(one[0], other[0])
    assert torch.equal(varied.test_dl(varied.valid_ds).one_batch()[0], varied.valid.one_batch()[0])


def seen_sides(dls, numbers):
    """Return for each epoch of these numbers which pictures it showed mirrored, by their place in the split."""
    made = []
    for dls.train.round in numbers:
        found = {}
        for pixels, _ in dls.train:
            levels = (dls.train.prepare.decodes(pixels) * 255).round().byte().permute(0, 2, 3, 1).numpy()
            for row, shown in zip(dls.train.latest, levels, strict=True):
                stored = dls.train_ds.images[row]
                found[int(row)] = (shown == stored[:, ::-1]).all()
                assert found[int(row)] or (shown == stored).all()
        made.append(found)
    return made


def test_two_epochs_show_both_sides_of_every_picture(run):
    dls = loaders.load(run, Recipe(batch_size=36, augment="none", flip=True))
    first, second, third = seen_sides(dls, [(0, 0), (0, 1), (1, 1)])
    assert len(first) == 36
    assert all(first[row] != second[row] for row in first)
    assert first == third
    assert 9 < sum(first.values()) < 27
    other = loaders.load(run, Recipe(batch_size=36, augment="none", flip=True, seed=1))
    assert seen_sides(other, [(0, 0)]) != [first]


def test_a_batch_from_elsewhere_is_mirrored_by_its_own_draw(run):
    dls = loaders.load(run, Recipe(batch_size=8, augment="none", flip=True))
    dls.train.one_batch()
    raw, _ = dls.train_ds.batch([1] * 20)
    (made,) = dls.train.after_batch((raw,))
    assert len(made.unique(dim=0)) == 2


def drawn(dls, epochs=60):
    """Return how often each train picture was drawn over many epochs."""
    places = []
    for epoch in range(epochs):
        dls.train.round = (0, epoch)
        places += dls.train.get_idxs()
    return np.bincount(places, minlength=len(dls.train_ds))


def test_sampling_draws_the_classes_equally_often(run):
    dls = loaders.load(run, replace(PLAIN, balance="sampling"))
    targets = dls.train_ds.targets
    targets[:] = torch.tensor([0] * 33 + [1] * 3)
    dls.train.chances = balance.chances("sampling", targets)
    counts = drawn(dls)
    assert counts.sum() == 60 * 36
    assert 0.45 < counts[targets == 1].sum() / counts.sum() < 0.55
    assert counts[targets == 0].min() > 0
    dls.train.round = (0, 0)
    first = dls.train.get_idxs()
    assert first == dls.train.get_idxs()
    dls.train.round = (0, 1)
    assert first != dls.train.get_idxs()


def test_without_sampling_each_picture_is_drawn_once(run):
    for way in ("none", "weights"):
        assert (drawn(loaders.load(run, replace(PLAIN, balance=way)), 3) == 3).all()


def test_with_several_labels_the_rarest_counts():
    targets = torch.tensor([[1.0, 0], [1, 0], [1, 1], [1, 0], [0, 0], [0, 0]])
    assert balance.chances("sampling", targets) == [1.5, 1.5, 6, 1.5, 3, 3]


def test_an_unknown_balance_is_refused(run):
    with pytest.raises(FastrecError, match=r"balance is 'fair': take one of none, weights, sampling\.$"):
        loaders.load(run, replace(PLAIN, balance="fair"))
