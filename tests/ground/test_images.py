"""The one decoder: what it accepts is right, what it refuses is named, and nothing makes it fall over."""

from __future__ import annotations

import io
import pickle
import subprocess
import warnings
import zipfile
from pathlib import Path

import corpus
import numpy as np
import PIL
import pytest
from hypothesis import event, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as stnp
from PIL import EpsImagePlugin, Image, ImageFile

from fastrec import images

CODES = {
    *("empty_file", "not_an_image", "unsupported_format", "truncated", "corrupt", "too_many_pixels"),
    *("too_small", "aspect", "float_range_unknown", "unsupported_mode"),
}


def outcome(data: bytes) -> str:
    try:
        return "ok" if images.decode(data).pixels.ndim == 3 else "not RGB"
    except images.ImageError as error:
        return error.code


@pytest.mark.parametrize("case", corpus.cases(), ids=str)
def test_every_case_of_the_corpus_has_its_outcome(case):
    if case.codes:
        with pytest.raises(images.ImageError) as refused:
            images.decode(case.data)
        assert refused.value.code in case.codes
        assert "\n" not in str(refused.value)
        return
    picture = images.decode(case.data)
    assert picture.pixels.dtype == np.uint8
    assert picture.pixels.shape[2] == 3
    assert any(case.warning in note for note in picture.warnings) or not case.warning
    if case.pixels is not None:
        assert picture.pixels.shape == case.pixels.shape
        assert np.abs(picture.pixels.astype(int) - case.pixels).mean() <= case.within


def test_a_good_picture_has_no_warnings_and_its_own_format():
    case = next(case for case in corpus.cases() if case.name == "png-named.jpg")
    picture = images.decode(case.data)
    assert (picture.format, picture.mode, picture.warnings) == ("PNG", "RGB", ())


@pytest.mark.parametrize(("name", "looks"), [("page.jpg", "HTML"), ("answer.png", "JSON"), ("script.png", "SVG")])
def test_a_refusal_says_what_the_file_looks_like(name, looks):
    case = next(case for case in corpus.cases() if case.name == name)
    with pytest.raises(images.ImageError, match=f"looks like {looks}"):
        images.decode(case.data)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_turned_jpeg_equals_the_upright_one_in_every_pixel(orientation):
    data = corpus.turned(orientation, "JPEG", quality=80)
    bare = Image.open(io.BytesIO(data)).convert("RGB")
    expected = bare.transpose(images._UPRIGHT[orientation]) if orientation > 1 else bare
    np.testing.assert_array_equal(images.decode(data).pixels, np.asarray(expected))


@pytest.mark.parametrize("name", ["bomb-20000.png", "bomb-12000.png", "claim-60000.png", "thread.png", "one-pixel.png"])
def test_a_refused_size_is_refused_before_pixels_are_unpacked(name, monkeypatch):
    monkeypatch.setattr(ImageFile.ImageFile, "load", lambda image: pytest.fail("the pixels were unpacked"))
    case = next(case for case in corpus.cases() if case.name == name)
    with pytest.raises(images.ImageError):
        images.decode(case.data)


def test_pillows_own_limits_being_stricter_or_looser_changes_no_code(monkeypatch):
    bomb = corpus.png_header(9_500, 9_500) + corpus.chunk(b"IDAT", bytes(100))
    for limit in (None, 1000, 60_000_000, 10**12):
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", limit)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            with pytest.raises(images.ImageError) as refused:
                images.decode(bomb)
        assert refused.value.code == "too_many_pixels"


def test_postscript_never_starts_an_interpreter(monkeypatch):
    started = []
    monkeypatch.setattr(EpsImagePlugin, "Ghostscript", lambda *args, **options: started.append("Ghostscript"))
    monkeypatch.setattr(subprocess, "Popen", lambda *args, **options: started.append("a process"))
    case = next(case for case in corpus.cases() if case.name == "postscript.jpg")
    for data in (case.data, b"\xc5\xd0\xd3\xc6" + bytes(28) + case.data):
        with pytest.raises(images.ImageError) as refused:
            images.decode(data)
        assert refused.value.code == "unsupported_format"
    assert not started


@given(st.binary(max_size=300), st.sampled_from(["plain.jpg", "plain.png", "moving.gif", "16-bit.tif", "cut.webp"]))
def test_damage_anywhere_gives_a_picture_or_a_named_refusal(junk, name):
    whole = next(case for case in corpus.cases() if case.name == name).data
    for data in (junk, whole[: len(junk) * 3], whole[:20] + junk + whole[20 + len(junk) :], whole + junk):
        assert outcome(data) in {"ok", *CODES}


@pytest.mark.skipif(
    not list(Path(PIL.__file__).parent.parent.glob("pillow.libs/libtiff*")), reason="Pillow is not a Linux wheel"
)
def test_a_broken_tiff_is_refused_without_a_word_on_the_screen(capfd):
    whole = corpus.encode(corpus.BASE, "TIFF", compression="tiff_lzw")
    assert outcome(whole) == "ok"
    assert outcome(whole[:8] + bytes(200) + whole[208:]) in {"truncated", "corrupt"}
    assert capfd.readouterr() == ("", "")


def test_a_refusal_comes_back_whole_from_another_process():
    error = pickle.loads(pickle.dumps(images.ImageError("truncated", "is cut short: get it again")))
    assert (error.code, str(error)) == ("truncated", "is cut short: get it again")


@pytest.mark.timeout(300)
def test_every_file_of_the_hostile_set_is_a_picture_or_a_named_refusal(data_dir, capfd):
    with zipfile.ZipFile(data_dir / "hostile.zip") as archive:
        lines = archive.read("OUTCOMES.tsv").decode().splitlines()[1:]
        outcomes = {path: status for status, _, path, *_ in (line.split("\t") for line in lines)}
        found = {path: outcome(archive.read(path)) for path in outcomes}
    assert capfd.readouterr() == ("", ""), "the parsers printed what they found wrong"
    assert len(found) == 679
    assert set(found.values()) <= {"ok", *CODES}
    assert not [path for path, status in outcomes.items() if status != "ok" and found[path] == "ok"]
    # what plain Pillow reads and we refuse is refused by rule: too small, too thin, or an icon
    assert {found[path] for path, status in outcomes.items() if status == "ok"} <= {
        *("ok", "too_small", "aspect", "unsupported_format", "float_range_unknown"),
    }


def test_real_photos_of_every_orientation_come_out_upright(data_dir):
    with zipfile.ZipFile(data_dir / "exif_orientation.zip") as archive:
        names = [name for name in archive.namelist() if name.lower().endswith(".jpg")]
        shown = {name: images.resize(images.decode(archive.read(name)).pixels, 64).astype(int) for name in names}
    for kind in ("Landscape", "Portrait"):
        group = [pixels for name, pixels in shown.items() if kind.lower() in name.lower()]
        assert len(group) >= 8
        assert max(np.abs(pixels - group[0]).mean() for pixels in group) < 6


# ------------------------------------------------------------------------- reading bytes


def test_files_of_any_name_are_read(tmp_path):
    for path in corpus.write_names(tmp_path, b"content"):
        assert images.read_bytes(path) == b"content"


def test_what_is_no_regular_file_is_refused_without_opening_it(tmp_path):
    folder = tmp_path / "pictures"
    folder.mkdir()
    for path, code in corpus.write_nodes(folder, b"content").items():
        with pytest.raises(images.ImageError) as refused:
            images.read_bytes(path)
        assert refused.value.code == code


@pytest.mark.parametrize("name", ["missing.png", "zero\0byte.png", "n" * 300])
def test_a_file_that_cannot_be_read_is_unreadable(tmp_path, name):
    with pytest.raises(images.ImageError) as refused:
        images.read_bytes(tmp_path / name)
    assert refused.value.code == "unreadable"


def test_a_file_without_permission_is_unreadable(tmp_path, monkeypatch):
    def refuse(path):
        raise PermissionError(13, "Permission denied")

    (tmp_path / "secret.png").write_bytes(b"x")
    monkeypatch.setattr("io.FileIO", refuse)  # root may read everything
    with pytest.raises(images.ImageError) as refused:
        images.read_bytes(tmp_path / "secret.png")
    assert refused.value.code == "unreadable"


def test_a_file_over_the_limit_is_not_read(tmp_path):
    path = tmp_path / "large.png"
    with path.open("wb") as stream:
        stream.truncate(images.MAX_BYTES + 1)  # sparse: takes no space
    with pytest.raises(images.ImageError) as refused:
        images.read_bytes(path)
    assert refused.value.code == "too_many_bytes"


# ---------------------------------------------------------------- resizing and statistics

pictures = stnp.arrays(np.uint8, st.tuples(st.integers(8, 40), st.integers(8, 40), st.just(3)))


@given(pictures, st.none() | st.lists(st.floats() | st.integers(-60, 60), min_size=4, max_size=4))
def test_a_box_gives_its_part_of_the_picture_or_a_named_refusal(pixels, box):
    try:
        cut = images.crop(pixels, box)
    except images.ImageError as error:
        event(error.code)
        return
    assert min(cut.shape[:2]) >= 8
    if box is not None:
        left, top, width, height = box
        assert cut.shape[1] <= width + 1
        assert cut.shape[0] <= height + 1
        np.testing.assert_array_equal(cut[0, 0], pixels[max(0, round(top)), max(0, round(left))])


@pytest.mark.parametrize(
    ("box", "code"),
    [
        ((float("nan"), 0, 10, 10), "box_outside"),
        ((0, 0, float("inf"), 10), "box_outside"),
        ((100, 0, 20, 20), "box_outside"),
        ((-15, 0, 20, 20), "box_outside"),
        ((0, 0, 4, 20), "too_small"),
        ((0, 0, -20, 20), "box_outside"),
    ],
)
def test_a_box_that_cannot_be_cut_is_refused(box, code):
    with pytest.raises(images.ImageError) as refused:
        images.crop(np.zeros((40, 60, 3), np.uint8), box)
    assert refused.value.code == code


@given(pictures, st.integers(1, 50), st.sampled_from(["squish", "crop", "pad"]))
def test_resized_pictures_are_pillows(pixels, size, rule):
    made = images.resize(pixels, size, rule)
    assert made.shape == (size, size, 3)
    assert made.dtype == np.uint8
    if rule == "squish":
        expected = Image.fromarray(pixels).resize((size, size), Image.Resampling.BILINEAR)
        np.testing.assert_array_equal(made, np.asarray(expected))


@given(pictures, st.sampled_from(["squish", "crop", "pad"]))
def test_a_picture_of_the_right_size_stays_as_it_is(pixels, rule):
    square = pixels[:8, :8]
    np.testing.assert_array_equal(images.resize(square, 8, rule), square)


def test_crop_takes_the_centre():
    pixels = np.zeros((10, 30, 3), np.uint8)
    pixels[:, 10:20] = 200
    assert (images.resize(pixels, 10, "crop") == 200).all()
    assert (images.resize(pixels.transpose(1, 0, 2), 10, "crop") == 200).all()
    assert images.resize(pixels, 10, "squish")[:, 0].max() == 0


def test_pad_shows_the_whole_picture_centred_on_grey():
    wide = np.full((10, 30, 3), 200, np.uint8)
    for pixels, turned in ((wide, False), (wide.transpose(1, 0, 2), True)):
        made = images.resize(pixels, 15, "pad")
        made = made.transpose(1, 0, 2) if turned else made
        assert (made[5:10] == 200).all()
        assert (made[:5] == images.PADDING).all()
        assert (made[10:] == images.PADDING).all()


@given(st.integers(1, 900), st.integers(1, 900), st.integers(8, 300))
def test_a_fitted_picture_fills_one_side_and_keeps_its_proportions(height, width, size):
    down, across = images.fitted(height, width, size)
    assert max(down, across) == size
    assert min(down, across) >= 1
    exact = min(height, width) * size / max(height, width)
    assert abs(min(down, across) - exact) <= 0.5 or exact < 0.5


@given(stnp.arrays(np.uint8, st.tuples(st.integers(1, 4), st.integers(2, 9), st.integers(2, 9), st.just(3))))
def test_statistics_keep_to_their_ranges(pixels):
    measured = images.statistics(pixels)
    assert set(measured) == {"brightness", "contrast", "sharpness", "saturation"}
    for values in measured.values():
        assert values.shape == (len(pixels),)
        assert np.isfinite(values).all()
        assert (values >= 0).all()
        assert (values <= 1.0001).all()


def test_statistics_know_light_from_dark_and_grey_from_colour():
    shown = np.zeros((4, 8, 8, 3), np.uint8)
    shown[1], shown[2, ..., 0] = 255, 255
    shown[3, ::2, ::2], shown[3, 1::2, 1::2] = 255, 255
    measured = images.statistics(shown)
    np.testing.assert_allclose(measured["brightness"], [0, 1, 0.299, 0.5], atol=1e-3)
    np.testing.assert_allclose(measured["saturation"], [0, 0, 1, 0], atol=1e-6)
    np.testing.assert_allclose(measured["contrast"], [0, 0, 0, 0.5], atol=1e-3)
    np.testing.assert_allclose(measured["sharpness"], [0, 0, 0, 1], atol=1e-3)


def test_statistics_of_many_pictures_are_those_of_each():
    many = np.random.default_rng(0).integers(0, 256, (300, 8, 8, 3), np.uint8)
    whole, last = images.statistics(many), images.statistics(many[-1:])
    assert all(np.isclose(whole[name][-1], last[name][0]) for name in whole)
    assert all(len(values) == 0 for values in images.statistics(many[:0]).values())


@given(st.integers(8, 300), st.integers(8, 300), st.integers(0, 2**32), st.sampled_from([0, 1, 3, 9, 20, 90]))
def test_a_glance_at_few_points_never_hides_a_constant_picture(width, height, seed, spread):
    random = np.random.default_rng(seed)
    pixels = (128 + random.integers(-spread, spread + 1, (height, width, 3))).astype(np.uint8)
    pixels[: random.integers(height + 1)] = random.integers(256)
    step = max(1, min(width, height) // 64)
    points = pixels[::step, ::step].astype(float)
    plain = points[::4, ::4, 0].std() < 4 and (points.std((0, 1)) < 1).all()
    assert ("nearly constant" in images.Picture(Image.fromarray(pixels), (1, 1), "PNG", "RGB").warnings) == plain


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("size", [(600, 400), (130, 129), (64, 64), (40, 90)])
def test_a_jpeg_that_is_decoded_smaller_tells_the_same(orientation, size):
    levels = np.random.default_rng(0).integers(0, 256, (9, 6, 3), np.uint8)
    exif = Image.Exif()
    exif[0x0112] = orientation
    stream = io.BytesIO()
    Image.fromarray(levels).resize(size, Image.Resampling.BICUBIC).save(stream, "JPEG", quality=95, exif=exif)
    whole, small = (images.decode(stream.getvalue(), least) for least in (0, 64))
    assert small.size == whole.size == whole.image.size
    assert (small.format, small.mode, small.warnings) == (whole.format, whole.mode, whole.warnings)
    assert min(small.image.size) >= min(64, *size)
    shown = [images.resize(picture.image, 32).astype(int) for picture in (whole, small)]
    assert np.abs(shown[0] - shown[1]).mean() < 3


def test_a_jpeg_that_is_decoded_smaller_is_as_strict():
    stream = io.BytesIO()
    Image.effect_noise((600, 400), 90).save(stream, "JPEG")
    data = stream.getvalue()
    for end in (len(data) // 2, len(data) - 200):
        with pytest.raises(images.ImageError, match="cut short"):
            images.decode(data[:end], 64)
