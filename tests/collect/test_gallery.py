"""The audit in pictures: which rows and pictures are drawn, and that hostile text and lost files do no harm."""

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from PIL import Image

from fastrec.artefacts import QUALITY, REJECTED
from fastrec.collect import gallery, manifest, sources
from fastrec.run import Run


@pytest.fixture
def run(home):
    return Run("t")


@pytest.fixture
def table(home, make_images, run):
    make_images(home / "pets", ["cat", "a$b <i>"], per_class=8, size=40)
    Image.fromarray(np.full((12, 90, 3), 9, np.uint8)).save(home / "pets/cat/wide.png")
    return manifest.inspect(run, sources.listing("folder:pets").items)[0]


def quality(*rows):
    made = pd.DataFrame(rows, columns=["issue", "image_id", "other_id", "value"]).assign(message="said of it")
    return made[QUALITY.schema.names].astype({"value": float})


def texts(figure):
    return [text.get_text() for text in figure.axes[0].texts if text.get_text()]


def test_nothing_wrong_is_said_so(run, table):
    assert gallery.issues_grid(run, table, quality()) == "Nothing looks wrong."


def test_each_kind_is_a_row_and_the_worst_come_first(run, table):
    ids = table["image_id"]
    rows = [("dark", ids[k], None, 0.2 - k / 100) for k in range(8)]
    rows += [("near_copy", ids[0], ids[1], 1.0), ("shortcut", None, None, 0.9)]
    figure = gallery.issues_grid(run, table, quality(*rows))
    assert isinstance(figure, Figure)
    told = texts(figure)
    assert [text for text in told if text in ("near copy", "dark", "shortcut")] == ["near copy", "dark", "shortcut"]
    assert "8 found\nhardly anything in it is bright" in told
    assert "said of it" in told
    assert len(figure.axes[0].images) == 2 + 6
    captions = [text for text in told if text.endswith("40x40")]
    worst = table["path"].str.rpartition("/")[2][[0, 1, 7, 6, 5, 4, 3, 2]]
    assert [caption.splitlines()[1] for caption in captions] == list(worst)
    figure.savefig("/dev/null", format="png")


def test_names_are_shown_as_they_are_and_cut_in_the_middle(run, table, home):
    row = table[table["path"].str.contains("wide")].iloc[0]
    row["path"] = "pets/cat/a-very-long-name-of-a-file-$x$.png"
    (home / "pets/cat/wide.png").rename(home / row["path"])
    changed = pd.DataFrame([row, table.iloc[0]])
    rows = [("odd_size", row["image_id"], None, 9.0), ("odd_size", table["image_id"][0], None, 0.1)]
    first, second = texts(gallery.issues_grid(run, changed, quality(*rows)))[2:]
    assert second.splitlines()[1:] == ["a-very-l…-\\$x\\$.png", "90x12"]
    assert first.startswith("a\\$b <i>\n")


def test_the_same_file_under_two_labels_is_shown_from_the_refused(run, table):
    paths = sorted(table["path"])[:2]
    refused = {"path": [*paths, "z.png"], "code": ["label_conflict"] * 2 + ["duplicate"], "message": ["m"] * 3}
    run.write(REJECTED, pd.DataFrame(refused))
    figure = gallery.issues_grid(run, table, quality())
    assert "1 found" in texts(figure)[1]
    assert len(figure.axes[0].images) == 2


def test_pictures_that_are_gone_or_dropped_do_no_harm(run, table, home):
    ids = table["image_id"]
    run.locate(table["path"][0]).unlink()
    rows = [("near_copy", ids[0], "gone", 1.0), ("dark", "gone", None, 0.1), ("bright", ids[0], None, 0.9)]
    figure = gallery.issues_grid(run, table, quality(*rows))
    assert len(figure.axes[0].images) == 2
    assert np.unique(figure.axes[0].images[0].get_array()).tolist() == [225]


def test_of_what_was_mended_each_kind_is_shown_before_a_second_of_any(run, table):
    rows = quality(*[("mended", image_id, None, None) for image_id in table["image_id"][:10]])
    rows["message"] = [f"{k}: {'first of 3 frames taken' if k < 9 else 'end of file is missing'}." for k in range(10)]
    figure = gallery.issues_grid(run, table, rows)
    shown = [text.splitlines()[1] for text in texts(figure) if "x" in text.splitlines()[-1]]
    assert table["path"][9].rpartition("/")[2] in shown[:2]


def test_a_crop_is_shown_as_the_crop(run, table):
    table = table.assign(box=[(0.0, 0.0, 10.0, 20.0)] * len(table), width=10, height=20)
    figure = gallery.issues_grid(run, table, quality(("dark", table["image_id"][0], None, 0.1)))
    assert figure.axes[0].images[0].get_array().shape == (20, 10, 3)


def test_of_many_copies_of_one_picture_a_single_pair_is_shown(run, table):
    ids = sorted(table["image_id"])
    rows = [("near_copy", ids[one], ids[other], 1.0) for one, other in ((0, 1), (0, 2), (1, 2), (4, 5))]
    figure = gallery.issues_grid(run, table, quality(*rows))
    assert len(figure.axes[0].images) == 4
