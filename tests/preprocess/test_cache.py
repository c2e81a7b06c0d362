"""The cache: the right picture in the right row, and nothing half-made."""

import numpy as np
import pytest

from fastrec import images
from fastrec.artefacts import CACHE, IMAGES
from fastrec.collect import manifest, sources
from fastrec.files import FastrecError
from fastrec.preprocess import cache, splits
from fastrec.run import Run


@pytest.fixture
def ready(home, make_images):
    make_images(home / "pets", ["cat", "dog"], per_class=10, size=20)
    run = Run("t")
    table, _, _ = manifest.inspect(run, sources.listing("folder:pets").items)
    return run, table, splits.split(table)


@pytest.mark.parametrize("rule", ["squish", "crop"])
def test_each_row_is_its_picture(ready, rule):
    run, table, split = ready
    info = cache.build(run, table, split, 16, rule)
    cached, paths = run.read(IMAGES), table.set_index("image_id")["path"]
    assert cached.shape == (20, 16, 16, 3)
    assert run.read(CACHE) == info
    for row in split.itertuples():
        pixels = images.decode(run.locate(paths[row.image_id]).read_bytes()).pixels
        np.testing.assert_array_equal(cached[row.row], images.resize(pixels, 16, rule))


def test_statistics_are_those_of_train_alone(ready):
    run, table, split = ready
    info = cache.build(run, table, split, 16)
    train = run.read(IMAGES)[splits.rows(split, ["train"])] / 255
    np.testing.assert_allclose(info.mean, train.mean((0, 1, 2)), atol=1e-5)
    np.testing.assert_allclose(info.std, train.std((0, 1, 2)), atol=1e-5)


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
