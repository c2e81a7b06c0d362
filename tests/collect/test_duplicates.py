"""Near copies: edited versions of a picture are found, other pictures are not."""

import io
import zipfile

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageFilter

from fastrec import images
from fastrec.collect import duplicates


def pictures(count, seed=0):
    """Make smooth random pictures, as unlike each other as photographs are."""
    random = np.random.default_rng(seed)
    coarse = random.integers(0, 256, (count, 6, 6, 3), dtype=np.uint8)
    return [Image.fromarray(levels).resize((96, 80), Image.Resampling.BICUBIC) for levels in coarse]


def jpeg(picture, quality=60):
    stream = io.BytesIO()
    picture.save(stream, "JPEG", quality=quality)
    return Image.open(stream).convert("RGB")


EDITS = {
    "re-encoded": jpeg,
    "halved": lambda picture: picture.resize((48, 40)),
    "slightly brighter": lambda picture: picture.point(lambda level: min(255, level + 6)),
    "blurred": lambda picture: picture.filter(ImageFilter.GaussianBlur(1)),
    "cropped by a pixel": lambda picture: picture.crop((1, 1, 95, 79)),
}


def pairs(names, thumbnails):
    return duplicates.pairs(pa.array(names, pa.string()), thumbnails.__getitem__)


def found(shown):
    thumbnails = np.stack([images.resize(np.asarray(picture), duplicates.SIDE) for picture in shown])
    table = pairs([f"{k:04d}" for k in range(len(shown))], thumbnails)
    return {(int(one), int(other)) for one, other in zip(table["image_id"], table["other_id"], strict=True)}


@pytest.mark.parametrize("edit", EDITS)
def test_edited_copies_are_found_and_nothing_else(edit):
    originals = pictures(200)
    copies = [EDITS[edit](picture) for picture in originals[:40]]
    pairs = found([*originals, *copies])
    right = {(k, 200 + k) for k in range(40)}
    assert pairs <= right
    assert len(pairs) >= 38


def test_different_pictures_are_no_pairs():
    assert found(pictures(500)) == set()


def test_flat_pictures_pair_only_if_equal():
    flat = [Image.new("RGB", (20, 20), (level, level, level)) for level in (10, 14, 18, 18)]
    assert found(flat) == {(2, 3)}


@pytest.mark.parametrize("count", [0, 1])
def test_too_few_for_a_pair(count):
    assert pairs(["x"] * count, np.zeros((count, 16, 16, 3), np.uint8)).empty


@given(seed=st.integers(0, 2**32 - 1), spread=st.integers(0, 40))
def test_the_first_look_at_a_pair_never_drops_a_near_copy(seed, spread):
    random = np.random.default_rng(seed)
    one = random.integers(0, 256, (8, 16, 16, 3))
    other = np.clip(one + random.integers(-spread, spread + 1, one.shape), 0, 255)
    shown = np.concatenate([one, other]).astype(np.uint8)
    traits = duplicates._Traits.of(shown.__getitem__, len(shown))
    left, right = np.arange(8), np.arange(8, 16)
    found, distance = duplicates._confirmed(shown.__getitem__, traits, left, right)
    exact = np.sqrt(((shown[left].astype(float) - shown[right]) ** 2).mean((1, 2, 3)))
    contrast = np.minimum(*(shown[side].std((1, 2, 3)) for side in (left, right)))
    near = exact <= np.minimum(duplicates.RELATIVE * contrast, duplicates.ABSOLUTE)
    assert (found // len(shown)).tolist() == np.flatnonzero(near).tolist()
    assert distance == pytest.approx(exact[near])


def hanging(count, pairs):
    """Return for each of ``count`` pictures the first that it hangs together with."""
    table = pd.DataFrame({"image_id": [f"{k:03d}" for k, _ in pairs], "other_id": [f"{k:03d}" for _, k in pairs]})
    clusters = duplicates.clusters(table)
    return [clusters.get(f"{k:03d}") for k in range(count)]


@given(st.data())
def test_of_many_near_copies_the_nearest_are_told_and_all_hang_together(data):
    count = data.draw(st.integers(2, 30))
    pair = st.tuples(st.integers(0, count - 1), st.integers(0, count - 1)).filter(lambda ends: ends[0] < ends[1])
    pairs = data.draw(st.lists(pair, unique=True))
    value = np.array(data.draw(st.lists(st.integers(0, 9), min_size=len(pairs), max_size=len(pairs))), float)
    key = np.array([one * count + other for one, other in pairs], int)
    half = len(key) // 2
    kept, left = duplicates._thinned(count, *duplicates._thinned(count, key, value))
    first_key, first_value = duplicates._thinned(count, key[:half], value[:half])
    both = np.concatenate([first_key, key[half:]]), np.concatenate([first_value, value[half:]])
    bit_by_bit, _ = duplicates._thinned(count, *both)
    told = [divmod(int(one), count) for one in kept]
    assert bit_by_bit.tolist() == kept.tolist()
    assert hanging(count, told) == hanging(count, pairs)
    distance = dict(zip(pairs, value, strict=True))
    assert left.tolist() == [distance[pair] for pair in told]
    for picture in range(count):
        mine, said = (sorted(distance[pair] for pair in which if picture in pair) for which in (pairs, told))
        assert said[: duplicates.NEAREST] == mine[: duplicates.NEAREST]


def test_a_film_makes_few_pairs_and_one_cluster():
    random = np.random.default_rng(0)
    frame = random.integers(0, 200, (1, 16, 16, 3))
    shown = (frame + random.integers(0, 4, (400, 16, 16, 3)) + np.arange(400)[:, None, None, None] // 10).astype(
        np.uint8
    )
    table = pairs([f"{k:03d}" for k in range(400)], shown)
    assert len(table) <= 400 * (duplicates.NEAREST + 1)
    assert set(duplicates.clusters(table).values()) == {"000"}
    assert len(duplicates.clusters(table)) == 400


def test_clusters_hang_together_and_take_the_first_name():
    table = pd.DataFrame({"image_id": ["b", "c", "x"], "other_id": ["c", "a", "y"]})
    assert duplicates.clusters(table) == {"a": "a", "b": "a", "c": "a", "x": "x", "y": "x"}
    assert duplicates.clusters(table.iloc[:0]) == {}


def test_real_photographs_make_no_false_pairs_across_classes(data_dir):
    """Equal hashes pair a dog with a ship; confirmed pairs of CIFAR-10 carry one label."""
    with zipfile.ZipFile(data_dir / "cifar10.zip") as archive:
        names = sorted(name for name in archive.namelist() if name.endswith(".jpg") and name[-8:-4] < "0500")
        shown = [images.decode(archive.read(name)).pixels for name in names]
    thumbnails = np.stack([images.resize(pixels, duplicates.SIDE) for pixels in shown])
    table = pairs(names, thumbnails)
    assert (table["image_id"].str.split("/").str[1] == table["other_id"].str.split("/").str[1]).all()
