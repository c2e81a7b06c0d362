"""Augmentation: each part does what its name says, levels mix them as fastai does, and seeds repeat all of it."""

import itertools
from dataclasses import fields, replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fastrec.files import FastrecError
from fastrec.preprocess import augment, tones, warping
from fastrec.preprocess.augment import LEVELS, Augmentation, Strengths
from fastrec.preprocess.tones import Tone
from fastrec.preprocess.warping import Motion

PARTS = {
    "rotation": 10.0,
    "zoom": 0.2,
    "shift": 0.1,
    "warp": 0.2,
    "lighting": 0.3,
    "colour": 0.5,
    "erase": 1.0,
    "flip": True,
}


@pytest.fixture
def batch():
    """Return a smooth coloured batch, uint8 and channels last, as the loader reads it."""
    generator = torch.Generator().manual_seed(0)
    small = torch.rand(24, 3, 5, 5, generator=generator)
    large = torch.nn.functional.interpolate(small, size=32, mode="bicubic").clamp(0, 1)
    return (large * 255).byte().contiguous(memory_format=torch.channels_last)


def vary(augmentation, pixels, seed=0):
    torch.manual_seed(seed)
    return augmentation(pixels)


@settings(max_examples=12, deadline=None)
@given(
    st.sampled_from(list(LEVELS)), st.booleans(), st.sampled_from([0.0, 0.5]), st.integers(8, 40), st.integers(1, 20)
)
def test_every_level_keeps_shape_and_range(level, flip, erase, side, count):
    pixels = torch.arange(count * 3 * side * side).remainder(256).byte().view(count, 3, side, side)
    before = pixels.clone()
    for given_ in (pixels, pixels.float() / 255):
        made = vary(augment.named(level, flip, erase), given_)
        assert made.shape == pixels.shape
        assert made.dtype == torch.float32
        assert made.is_contiguous(memory_format=torch.channels_last)
        assert made.min() >= -1e-6
        assert made.max() <= 1 + 1e-6
    assert (pixels == before).all()


def test_none_is_the_identity(batch):
    assert torch.equal(vary(augment.named("none"), batch), batch.float() / 255)
    assert torch.equal(vary(augment.named("none"), batch.float() / 255), batch.float() / 255)


@pytest.mark.parametrize("part", PARTS)
def test_each_part_alone_changes_pictures(batch, part):
    made = vary(Augmentation(Strengths(**{part: PARTS[part]})), batch)
    changed = ((made - batch / 255).abs().amax((1, 2, 3)) > 0.01).float().mean()
    assert changed > 0.3


def test_the_parts_here_are_all_there_are():
    assert {field.name for field in fields(Strengths)} == {*PARTS, "policy"}


@pytest.mark.parametrize(
    ("motion", "tone"),
    [
        (Motion(degrees=torch.zeros(24)), Tone()),
        (Motion(zoom=torch.ones(24), across=torch.rand(24), down=torch.rand(24)), Tone()),
        (Motion(warp_x=torch.zeros(24), warp_y=torch.zeros(24)), Tone()),
        (Motion(flip=torch.ones(24)), Tone()),
        (Motion(shift_x=torch.zeros(24), shift_y=torch.zeros(24)), Tone()),
        (Motion(), Tone(brightness=torch.full((24,), 0.5), contrast=torch.ones(24))),
        (Motion(), Tone(saturation=torch.ones(24), hue=torch.zeros(24))),
    ],
)
def test_a_part_of_no_strength_changes_nothing(batch, motion, tone):
    made = augment.apply(batch, motion, tone, [])
    torch.testing.assert_close(made, batch / 255, atol=1e-5, rtol=0)


@pytest.mark.parametrize(("level", "flip"), list(itertools.product(list(LEVELS)[:4], [False, True])))
def test_levels_are_those_of_fastai_draw_for_draw(batch, level, flip):
    from fastai.vision.augment import Flip, PadMode, aug_transforms
    from fastai.vision.core import TensorImage

    s = LEVELS[level]
    theirs = aug_transforms(
        do_flip=flip,
        max_rotate=s.rotation,
        max_zoom=1 + s.zoom,
        max_lighting=s.lighting,
        max_warp=s.warp,
        pad_mode=PadMode.Border,
    )
    torch.manual_seed(0)
    expected = TensorImage(batch / 255)
    for transform in theirs if level != "none" else [Flip(p=0.5)] * flip:
        expected = transform(expected, split_idx=0)
    ours = vary(Augmentation(replace(s, flip=flip, colour=0.0)), batch)
    torch.testing.assert_close(ours, expected.as_subclass(torch.Tensor), atol=1e-4, rtol=0)


@pytest.mark.parametrize("level", list(LEVELS)[1:])
def test_the_seed_decides_and_pictures_differ(batch, level):
    same = batch[:1].expand(64, -1, -1, -1)
    augmentation = augment.named(level)
    first, again, other = (vary(augmentation, same, seed) for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    kinds = len({picture.numpy().tobytes() for picture in first})
    assert kinds >= (20 if level == "shift" else 5 if level in augment.POLICIES else 60)


def test_nothing_but_torchs_generator_decides(batch):
    import random

    for level in LEVELS:
        found = []
        for seed in (1, 2):
            random.seed(seed)
            np.random.seed(seed)  # noqa: NPY002 (the global one is what libraries draw from)
            found.append(vary(augment.named(level, True, 0.5), batch))
        assert torch.equal(*found)


def test_how_many_are_done_at_a_time_changes_no_bit(batch, monkeypatch):
    whole = vary(augment.named("strong", True, 0.5), batch)
    monkeypatch.setattr(augment, "_PART", 5 * batch[0].numel())
    assert torch.equal(vary(augment.named("strong", True, 0.5), batch), whole)


def test_stronger_levels_change_more(batch):
    amounts = [float((vary(augment.named(level), batch) - batch / 255).abs().mean()) for level in list(LEVELS)[:4]]
    assert amounts == sorted(amounts)


def test_an_unknown_level_is_refused_with_the_names():
    with pytest.raises(FastrecError, match=r"augment is 'wild': take one of none, light, .*trivialaugment"):
        augment.named("wild")


def test_erase_is_a_probability():
    with pytest.raises(FastrecError, match=r"erase is 1\.5: take a probability"):
        augment.named("light", erase=1.5)


@given(st.integers(8, 64), st.integers(0, 2**31), st.floats(0.02, 0.33))
@settings(max_examples=50, deadline=None)
def test_erased_rectangles_lie_inside(side, seed, share):
    torch.manual_seed(seed)
    for _, top, left, height, width in tones.rectangles(30, 1.0, side, (share, share)):
        assert min(top, left) >= 0
        assert min(height, width) >= 1
        assert max(top + height, left + width) <= side


def test_about_the_asked_share_is_erased():
    torch.manual_seed(0)
    assert 0.2 < len(tones.rectangles(2000, 0.25, 32)) / 2000 < 0.3
    assert tones.rectangles(2000, 0.0, 32) == []


def test_erasing_touches_its_rectangle_alone():
    pixels = torch.full((2, 3, 16, 16), 2.0)
    made = tones.erase(pixels.clone(), [[1, 4, 6, 5, 3]])
    inside = torch.zeros(2, 3, 16, 16, dtype=torch.bool)
    inside[1, :, 4:9, 6:9] = True
    assert (made[inside] < 1).all()
    assert (made[~inside] == 2).all()


def test_shifts_and_flips_are_those_of_a_mirrored_border(batch):
    sides = torch.tensor([-1.0, 1.0]).repeat(12)
    across, down = (torch.arange(24) % 7 - 3) / 32, (torch.arange(24) % 5 - 2) / 32
    made = warping.slide(batch, Motion(flip=sides, shift_x=across, shift_y=down))
    assert made.dtype == torch.uint8
    assert made.is_contiguous(memory_format=torch.channels_last)
    framed = torch.nn.functional.pad(batch.float(), [4] * 4, mode="reflect")
    for k, (x, y) in enumerate(zip((across * 32).int().tolist(), (down * 32).int().tolist(), strict=True)):
        moved = framed[k, :, 4 - y : 36 - y, 4 - x : 36 - x]
        assert torch.equal(made[k].float(), moved.flip(-1) if sides[k] < 0 else moved)


def test_the_level_shift_moves_32_pixels_by_two_at_most_to_every_side(batch):
    wide = batch[:1].expand(500, -1, -1, -1)
    moved = vary(augment.named("shift"), wide)
    motions = [(x / 32, y / 32) for x in range(-2, 3) for y in range(-2, 3)]
    expected = [warping.slide(batch[:1], Motion(*[None] * 7, *torch.tensor([[x], [y]])))[0] for x, y in motions]
    seen = {[torch.allclose(one, other / 255) for other in expected].index(True) for one in moved}
    assert seen == set(range(25))


@pytest.mark.parametrize("level", ["none", "shift", "light"])
def test_given_flips_are_done_after_the_same_draws(batch, level):
    mirrored = torch.arange(24) % 3 == 0
    augmentation, plain = augment.named(level, flip=True), vary(augment.named(level), batch)
    torch.manual_seed(0)
    made, after = augmentation(batch, mirrored=mirrored), torch.rand(1)
    vary(augment.named(level), batch)
    assert torch.equal(after, torch.rand(1))
    assert torch.equal(made[~mirrored], plain[~mirrored])
    if level != "light":  # whose rotation follows the flip
        assert torch.equal(made[mirrored], plain[mirrored].flip(-1))
    assert not torch.equal(made, plain)


def test_a_quarter_turn_is_a_quarter_turn(batch):
    made = warping.move(batch / 255, Motion(degrees=torch.full((24,), 90.0)).matrices(24), flat=True)
    torch.testing.assert_close(made, (batch / 255).rot90(-1, (2, 3)), atol=1e-3, rtol=0)


def test_colour_keeps_the_luma_and_grey():
    pixels = torch.rand(6, 3, 8, 8) * 0.2 + 0.4  # far from the ends, where levels are cut
    luma = torch.tensor([0.299, 0.587, 0.114]).view(1, 3, 1, 1)
    mixes = tones.colour_matrices(torch.linspace(0, 1.5, 6), torch.linspace(-40, 40, 6))
    made = tones.tint(pixels, mixes)
    torch.testing.assert_close((made * luma).sum(1), (pixels * luma).sum(1), atol=2e-3, rtol=0)
    grey = pixels.mean(1, keepdim=True).expand(-1, 3, -1, -1)
    torch.testing.assert_close(tones.tint(grey, mixes), grey, atol=2e-3, rtol=0)
    torch.testing.assert_close(made[0].amax(0), made[0].amin(0), atol=2e-3, rtol=0)  # no saturation is grey
