"""The cache: the right picture in the right row, and nothing half-made."""

import errno
import multiprocessing
import os
import time

import numpy as np
import pytest

from fastrec import channels, images, provenance
from fastrec.artefacts import CACHE, IMAGES
from fastrec.collect import manifest, sources
from fastrec.files import FastrecError
from fastrec.preprocess import cache, rows, splits
from fastrec.run import Run


@pytest.fixture
def ready(home, make_images):
    make_images(home / "pets", ["cat", "dog"], per_class=10, size=20)
    run = Run("t")
    table, _, _ = manifest.inspect(run, sources.listing("folder:pets").items)
    return run, table, splits.split(table)


@pytest.mark.parametrize("rule", ["squish", "crop", "pad"])
def test_each_row_is_its_picture(ready, rule):
    run, table, split = ready
    info = cache.build(run, table, split, 16, rule)
    cached, paths = run.read(IMAGES), table.set_index("image_id")["path"]
    assert cached.shape == (20, 16, 16, 3)
    assert run.read(CACHE) == info
    for row in split.itertuples():
        pixels = images.decode(run.locate(paths[row.image_id]).read_bytes()).pixels
        np.testing.assert_array_equal(cached[row.row], images.resize(pixels, 16, rule))


def test_grey_rows_are_the_grey_of_the_coloured_ones(ready):
    run, table, split = ready
    coloured = cache.build(run, table, split, 16, "pad")
    assert (coloured.channels, len(coloured.mean)) == (3, 3)
    expected = np.stack([channels.reduced(pixels, 1) for pixels in run.read(IMAGES)])
    info = cache.build(run, table, split, 16, "pad", "grey")  # in the coloured one's place
    cached = run.read(IMAGES)
    assert (info.channels, cached.shape) == (1, (20, 16, 16, 1))
    np.testing.assert_array_equal(cached, expected)
    train = cached[splits.rows(split, ["train"])] / 255
    np.testing.assert_allclose((info.mean, info.std), ([train.mean()], [train.std()]), atol=1e-5)


def test_statistics_are_those_of_train_alone(ready):
    run, table, split = ready
    info = cache.build(run, table, split, 16)
    train = run.read(IMAGES)[splits.rows(split, ["train"])] / 255
    np.testing.assert_allclose(info.mean, train.mean((0, 1, 2)), atol=1e-5)
    np.testing.assert_allclose(info.std, train.std((0, 1, 2)), atol=1e-5)


def test_statistics_of_many_pictures_are_those_of_some_spread_over_train(ready, monkeypatch):
    run, table, split = ready
    monkeypatch.setattr(cache, "COUNTED", 4)
    info = cache.build(run, table, split, 16)
    rows = np.sort(splits.rows(split, ["train"]))
    some = run.read(IMAGES)[rows[:: -(-len(rows) // 4)]] / 255
    assert 2 <= len(some) <= 4
    np.testing.assert_allclose(info.mean, some.mean((0, 1, 2)), atol=1e-5)


def test_a_changed_file_stops_the_build_and_keeps_the_old_cache(ready):
    run, table, split = ready
    cache.build(run, table, split, 16)
    before = run.path(IMAGES).read_bytes()
    changed = run.locate(table["path"][3])
    data = bytearray(changed.read_bytes())
    data[-20] ^= 1  # of the same length
    changed.write_bytes(data)
    with pytest.raises(FastrecError, match="changed after collect"):
        cache.build(run, table, split, 16)
    assert run.path(IMAGES).read_bytes() == before
    assert not list(run.folder.rglob("*.tmp"))


@pytest.mark.parametrize(("size", "rule", "says"), [(4, "squish", "size is 4"), (32, "stretch", "resize is 'stretch'")])
def test_senseless_parameters_are_refused(ready, size, rule, says):
    run, table, split = ready
    with pytest.raises(FastrecError, match=says):
        cache.build(run, table, split, size, rule)


@pytest.fixture
def decoded(monkeypatch):
    """Return a list that grows by each row that a build decodes."""
    seen, copied = [], cache._copied

    def spy(job, *where):
        if not (found := copied(job, *where)):
            seen.append(job[0])
        return found

    monkeypatch.setattr(cache, "_copied", spy)
    return seen


def collected(run):
    table, _, _ = manifest.inspect(run, sources.listing("folder:pets").items)
    return table, splits.split(table)


def test_only_what_is_new_is_decoded(ready, make_images, home, decoded):
    run, table, split = ready
    cache.build(run, table, split, 16)
    assert decoded == list(range(20))
    before = run.path(IMAGES).read_bytes()
    decoded.clear()
    cache.build(run, table, split, 16)
    assert decoded == []
    assert run.path(IMAGES).read_bytes() == before
    make_images(home / "more", ["cat"], per_class=3, size=20, seed=5)
    for path in (home / "more/cat").iterdir():
        path.rename(home / "pets/cat" / f"new{path.name}")
    table, split = collected(run)
    decoded.clear()
    cache.build(run, table, split, 16)
    new = table["path"].str.contains("new")
    assert sorted(decoded) == sorted(splits_rows(split, table[new]))
    check(run, table, split, 16)
    for size, rule in ((20, "squish"), (20, "pad")):
        decoded.clear()
        cache.build(run, table, split, size, rule)
        assert len(decoded) == 23
        check(run, table, split, size, rule)


def splits_rows(split, table):
    return split.loc[split["image_id"].isin(table["image_id"]), "row"].tolist()


def check(run, table, split, size, rule="squish"):
    cached, paths = run.read(IMAGES), table.set_index("image_id")["path"]
    assert cached.shape == (len(split), size, size, 3)
    for row in split.itertuples():
        pixels = images.decode(run.locate(paths[row.image_id]).read_bytes()).pixels
        np.testing.assert_array_equal(cached[row.row], images.resize(pixels, size, rule))
    assert not list(run.folder.rglob(".images*"))


def test_another_decoder_decodes_anew(ready, decoded, monkeypatch):
    run, table, split = ready
    cache.build(run, table, split, 16)
    decoded.clear()
    monkeypatch.setattr(provenance, "versions", lambda: {"pillow": "another"})
    cache.build(run, table, split, 16)
    assert len(decoded) == 20


def test_a_rotten_row_is_decoded_anew(ready, decoded):
    run, table, split = ready
    cache.build(run, table, split, 16)
    data = bytearray(run.path(IMAGES).read_bytes())
    data[-20 * rows.STAMP - 500] ^= 4  # in the last row, before the header of the stamps
    run.path(IMAGES).write_bytes(data)
    decoded.clear()
    cache.build(run, table, split, 16)
    assert decoded == [19]
    check(run, table, split, 16)


@pytest.mark.parametrize("content", [b"", b"\x93NUMPY\x02\x00", b"no array"])
def test_a_cache_of_another_make_is_no_obstacle(ready, content):
    run, table, split = ready
    run.path(IMAGES).parent.mkdir(parents=True)
    run.path(IMAGES).write_bytes(content)
    cache.build(run, table, split, 16)
    check(run, table, split, 16)


def test_a_full_disk_is_one_sentence_and_leaves_no_part(ready, monkeypatch):
    run, table, split = ready
    cache.build(run, table, split, 16)
    before = run.path(IMAGES).read_bytes()

    def refuse(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", refuse)
    with pytest.raises(FastrecError, match=r"images.npy was not written.*disk is full"):
        cache.build(run, table, split, 20)
    assert run.path(IMAGES).read_bytes() == before
    assert not list(run.folder.rglob(".images*"))


@pytest.mark.parametrize("length", ["whole", "short", "long"])
def test_a_part_that_was_killed_while_its_room_was_taken_is_no_obstacle(ready, monkeypatch, length):
    run, table, split = ready
    with monkeypatch.context() as patch:
        patch.setattr(cache, "_link", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            cache.build(run, table, split, 16)
    (part,) = run.folder.rglob("*.part")
    size = part.stat().st_size
    part.write_bytes(bytes({"whole": size, "short": size // 2, "long": size * 2}[length]))
    cache.build(run, table, split, 16)
    check(run, table, split, 16)


def test_a_row_that_is_cut_short_by_the_disk_is_a_fault(tmp_path, monkeypatch):
    layout = rows.Layout.of(tmp_path / "x", 2, (8, 8, 3))
    layout.reserve(2)
    monkeypatch.setattr(os, "pwrite", lambda *_: 1)
    with pytest.raises(OSError, match="No space left"):
        layout.put(0, [bytes(32)], [bytes(192)])


def test_a_build_that_is_killed_anywhere_never_leaves_a_wrong_cache(home, make_images, decoded):
    """Kill builds at random moments; what each leaves is right, and the next goes on from there."""
    make_images(home / "pets", ["cat", "dog"], per_class=150, size=200)
    run = Run("t")
    table, split = collected(run)
    cache.build(run, table, split, 16)  # the one before
    random, saved = np.random.default_rng(), [0]
    for more in (-1, 0, 20, 60, 100):  # rows that may come before the kill; the first comes while room is taken
        build = multiprocessing.get_context("fork").Process(target=cache.build, args=(run, table, split, 128))
        build.start()
        while build.is_alive() and whole_rows(run) <= saved[-1] + more:
            time.sleep(random.uniform(0, 0.01))
        build.kill()
        build.join()
        if run.read(IMAGES).shape[1] == 128:  # it was faster
            break
        saved.append(whole_rows(run))
    decoded.clear()
    cache.build(run, table, split, 128)
    assert saved == sorted(saved)
    assert len(decoded) <= 300 - saved[-1]
    check(run, table, split, 128)


def whole_rows(run):
    found = [rows.Earlier(part, (128, 128, 3)) for part in run.folder.rglob("*.part")]
    return max((sum(one.find(content) is not None for content in one._places) for one in found), default=0)
