"""The augment explorer: figures without a reader, and sliders that do what they say with one."""

import io

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from PIL import Image

from fastrec.preprocess import augment, explorer

MARKS = ("JPY_SESSION_NAME", "VSCODE_PID")


@pytest.fixture(autouse=True)
def unattended(monkeypatch):
    for mark in MARKS:
        monkeypatch.delenv(mark, raising=False)


@pytest.fixture
def pictures():
    return np.random.default_rng(0).integers(0, 256, (3, 16, 16, 3), np.uint8)


@pytest.fixture
def panel(pictures, monkeypatch):
    monkeypatch.setenv(MARKS[0], "notebook")
    return explorer.explore(pictures)


def controls(widget):
    """Return every control and the picture by name, a button by its text."""
    inner = [widget, *(one for child in getattr(widget, "children", ()) for one in controls(child).values())]
    names = [getattr(one, "description", "") or type(one).__name__ for one in inner]
    return dict(zip(names, inner, strict=True))


def test_without_a_reader_there_is_a_row_for_each_part(pictures):
    figure = explorer.explore(pictures)
    assert isinstance(figure, Figure)
    names = {text.get_text().replace("\n", " ") for axis in figure.axes for text in axis.texts}
    assert names == {
        *("flip", "rotation", "zoom", "shift", "warp", "lighting (brightness, contrast)", "colour (saturation, hue)"),
        *("erase", "randaugment", "trivialaugment"),
    }
    titles = [axis.get_title() for axis in figure.axes]
    assert titles.count("original") == len(names)
    assert {"5° left", "20° right", "1.25× at ↖", "0.4 brighter", "30 % of area", "magnitude 14"} <= set(titles)


def test_grey_pictures_are_shown_with_a_reader_too(pictures, monkeypatch):
    monkeypatch.setenv(MARKS[0], "notebook")
    shown = controls(explorer.explore(pictures[..., :1]))["Image"].value
    assert Image.open(io.BytesIO(shown)).size == Image.open(io.BytesIO(shown)).convert("RGB").size


def test_nothing_of_the_figure_is_cut_or_covered(pictures):
    figure = explorer.parts(pictures)
    figure.savefig(io.BytesIO())
    whole = figure.bbox
    texts = [text for axis in figure.axes for text in (*axis.texts, axis.title) if text.get_text()]
    boxes = [text.get_window_extent() for text in texts]
    assert all(whole.x0 <= box.x0 and box.x1 <= whole.x1 and whole.y0 <= box.y0 and box.y1 <= whole.y1 for box in boxes)
    assert not [1 for k, box in enumerate(boxes) for other in boxes[:k] if box.overlaps(other)]


def test_a_rotation_to_the_left_turns_to_the_left():
    bar = np.zeros((1, 33, 33, 3), np.uint8)
    bar[:, :, 16] = 255
    copies = torch.from_numpy(bar.repeat(2, 0)).permute(0, 3, 1, 2)
    shown, titles = explorer._rows()["rotation"](copies)
    top = shown[titles.index("20° left")][0, :, 0].argmax()
    assert top < 16


def test_levels_are_rows_and_leave_the_generator_alone(pictures):
    before = torch.get_rng_state()
    figure = explorer.levels(pictures[0], variants=3)
    assert [text.get_text() for axis in figure.axes for text in axis.texts] == ["light", "medium", "strong", "shift"]
    assert len(figure.axes) == 4 * 4
    explorer.parts(pictures)
    assert torch.equal(torch.get_rng_state(), before)


def test_the_explorer_shows_the_original_first(panel, pictures):
    found = controls(panel)
    shown = np.asarray(Image.open(io.BytesIO(found["Image"].value)))
    assert (shown[3:99, 3:99] == pictures[0].repeat(6, 0).repeat(6, 1)).all()
    found["picture"].value = 2
    shown = np.asarray(Image.open(io.BytesIO(found["Image"].value)))
    assert (shown[3:99, 3:99] == pictures[1].repeat(6, 0).repeat(6, 1)).all()


def test_again_draws_anew_and_a_level_sets_the_sliders(panel):
    found = controls(panel)
    first = found["Image"].value
    found["again"].click()
    assert found["Image"].value != first
    found["augment"].value = "strong"
    assert found["rotation"].value == augment.LEVELS["strong"].rotation
    assert found["augment"].value == "strong"
    assert "strong" in found["HTML"].value


def test_a_moved_slider_is_a_choice_of_its_own(panel):
    found = controls(panel)
    found["rotation"].value = 30
    assert found["augment"].value == explorer.CUSTOM
    assert "rotation=30" in found["HTML"].value
    assert found["lighting"].value == augment.LEVELS["light"].lighting


@pytest.mark.parametrize("level", [name for name in augment.LEVELS if name not in augment.POLICIES])
def test_a_browsers_rounding_does_not_leave_the_level(panel, level):
    found = controls(panel)
    found["augment"].value = level
    for name in explorer._SLIDERS:
        step = found[name].step
        found[name].value = round(found[name].value / step) * step  # what the browser sends back
    assert found["augment"].value == level


def test_none_shows_the_same_picture_everywhere_until_a_part_is_added(panel):
    found = controls(panel)
    found["augment"].value = "none"
    shown = np.asarray(Image.open(io.BytesIO(found["Image"].value)))
    assert (shown[3:99, 3:99] == shown[3:99, 105:201]).all()
    for control, value in (("flip", True), ("erase", 1.0)):
        before = found["Image"].value
        found[control].value = value
        assert found["Image"].value != before
        assert found["augment"].value == "none"


@pytest.mark.parametrize("policy", augment.POLICIES)
def test_a_policy_has_no_sliders(panel, policy):
    found = controls(panel)
    found["augment"].value = policy
    assert found["rotation"].disabled
    found["augment"].value = "light"
    assert not found["rotation"].disabled
