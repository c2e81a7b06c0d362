"""Dark, bright and blurred pictures: found where they are faulty, left alone where a set is so by nature."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from looked import tables
from PIL import Image, ImageDraw, ImageFilter

from fastrec import images
from fastrec.collect import exposure, manifest, sources
from fastrec.run import Run


def scene(seed, size=96):
    """Draw a picture with light, shade, outlines and texture, as a photo has."""
    random = np.random.default_rng(seed)
    picture = Image.fromarray(random.integers(60, 200, (6, 6, 3)).astype(np.uint8)).resize((size, size))
    draw = ImageDraw.Draw(picture)
    for _ in range(12):
        x, y, side = random.integers(0, size, 3)
        draw.rectangle((x, y, x + side // 3, y + side // 3), tuple(int(v) for v in random.integers(0, 256, 3)))
    return np.clip(np.asarray(picture) + random.normal(0, 12, (size, size, 3)), 0, 255).astype(np.uint8)


def drawing(seed, ink, paper):
    random = np.random.default_rng(seed)
    picture = Image.new("L", (64, 64), paper)
    points = [(int(x), int(y)) for x, y in random.integers(4, 60, (int(random.integers(2, 7)), 2))]
    ImageDraw.Draw(picture).line(points, fill=ink, width=int(random.integers(1, 4)))
    return np.asarray(picture.convert("RGB"))


def blurred(picture):
    return np.asarray(Image.fromarray(picture).filter(ImageFilter.GaussianBlur(len(picture) * 5 / 64)))


SCENES = [scene(seed) for seed in range(40)]
WAYS = {
    "dark": lambda picture: (picture * 0.1).astype(np.uint8),
    "bright": lambda picture: (255 - (255.0 - picture) * 0.1).astype(np.uint8),
    "blurred": blurred,
}


def found(pictures, **facts):
    table, seen = tables(["a"] * len(pictures), pictures, **facts)
    return [(issue, place) for issue, place, _, _ in exposure.faults(table, seen)]


def test_pictures_of_usual_light_and_focus_have_no_fault():
    assert found(SCENES) == []


@pytest.mark.parametrize("fault", WAYS)
def test_a_few_faulty_pictures_are_found_and_no_other(fault):
    pictures = [WAYS[fault](picture) if k < 4 else picture for k, picture in enumerate(SCENES)]
    assert [hit for hit in found(pictures) if hit[0] == fault] == [(fault, k) for k in range(4)]
    assert {place for _, place in found(pictures)} == set(range(4))


@pytest.mark.parametrize("fault", WAYS)
def test_a_set_that_is_so_throughout_is_left_alone(fault):
    assert found([WAYS[fault](picture) for picture in SCENES]) == []


@pytest.mark.parametrize(("ink", "paper"), [(0, 255), (255, 0), (90, 255)])
def test_line_drawings_are_left_alone(ink, paper):
    assert found([drawing(seed, ink, paper) for seed in range(100)]) == []


def test_small_pictures_are_not_called_blurred():
    pictures = [images.resize(picture, 12) if k < 4 else picture for k, picture in enumerate(SCENES)]
    sides = [len(picture) for picture in pictures]
    assert found(pictures, width=sides, height=sides) == []


def test_constant_pictures_are_told_of_elsewhere():
    pictures = [np.zeros((64, 64, 3), np.uint8), *SCENES]
    notes = [["nearly constant"], *([] for _ in SCENES)]
    assert ("dark", 0) in found(pictures)
    assert found(pictures, warnings=notes) == []


def test_the_words_name_the_measure_and_the_median():
    table, seen = tables(["a"] * 40, [WAYS["dark"](SCENES[0]), *SCENES[1:]])
    ((_, _, value, words),) = exposure.faults(table, seen)
    assert words.startswith(f"hardly anything is brighter than {value:.2f} of white (the set's median 0.")


def test_pictures_that_were_not_measured_have_no_fault():
    table, seen = tables(["a"] * 40, SCENES)
    assert list(exposure.faults(table, seen.iloc[:0])) == []
    assert exposure.measures(table, seen.iloc[:0]).isna().all(axis=None)


@given(st.permutations(range(12)))
def test_the_order_of_the_pictures_changes_nothing(order):
    table, seen = tables(["a"] * 12, [WAYS["dark"](SCENES[0]), *SCENES[1:12]])
    turned = table.iloc[list(order)].reset_index(drop=True)
    faults = [(issue, turned["image_id"][place], value) for issue, place, value, _ in exposure.faults(turned, seen)]
    assert faults == [(issue, table["image_id"][place], v) for issue, place, v, _ in exposure.faults(table, seen)]


def faults_of(source):
    run = Run("x")
    table = manifest.inspect(run, sources.listing(source).items)[0]
    pixels = [images.decode(images.read_bytes(run.locate(path))).pixels for path in table["path"]]
    return found(pixels, width=table["width"], height=table["height"])


def test_scans_on_black_are_free_of_false_alarms(data_dir):
    assert faults_of(f"archive:{data_dir / 'brain_mri.zip'}") == []
