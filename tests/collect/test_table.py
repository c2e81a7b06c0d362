"""Tables of paths and labels: a bad row is refused or named, never dropped and never guessed at."""

import pandas as pd
import pytest

from fastrec.collect import manifest, sources
from fastrec.files import FastrecError
from fastrec.run import Run

PATHS = ["a.png", "b.png"]


def parquet(home, **columns):
    pd.DataFrame({"path": PATHS} | columns).to_parquet(home / "t.parquet")
    return sources.listing("parquet:t.parquet")


@pytest.mark.parametrize("name", ["label", "labels"])
@pytest.mark.parametrize(
    "column",
    [["cat", None], pd.array([1, None], "Int64"), pd.array(["cat", None], "string"), pd.Categorical(["cat", None])],
)
def test_a_missing_label_names_its_row(home, name, column):
    with pytest.raises(FastrecError, match="row 3 has an empty label"):
        parquet(home, **{name: column})


@pytest.mark.parametrize("missing", [None, [], [None]])
def test_a_missing_list_of_labels_names_its_row(home, missing):
    with pytest.raises(FastrecError, match="row 3 has an empty label"):
        parquet(home, labels=[["cat", "dog"], missing])


def test_labels_may_be_numbers(home):
    assert [item.labels for item in parquet(home, labels=[3, 4]).items] == [("3",), ("4",)]


HEAD = "path,label,left,top,width,height\na.png,cat,1,2,10,10\n"


@pytest.mark.parametrize("box", ["1,2,10,", ",2,10,10", ",,,10"])
def test_a_box_with_an_empty_cell_names_its_row(home, box):
    (home / "t.csv").write_text(f"{HEAD}b.png,dog,{box}\n")
    with pytest.raises(FastrecError, match=r"t\.csv row 3 has the box .*: give left, top, width and height in pixels"):
        sources.listing("csv:t.csv")


@pytest.mark.parametrize("box", ["1e308,0,1e308,9", "nan,0,9,9", "0,inf,9,9", "0,0,nan,9"])
def test_a_box_beyond_all_numbers_is_a_refused_row(home, make_images, box):
    make_images(home, ["pets"], per_class=3)
    rows = "pets/000.png,cat,0,0,9,9\npets/001.png,dog,0,0,9,9\n"
    (home / "t.csv").write_text(f"path,label,left,top,width,height\n{rows}pets/002.png,dog,{box}\n")
    _, rejected, _ = manifest.inspect(Run("t"), sources.listing("csv:t.csv").items)
    assert list(rejected["code"]) == ["box_outside"]


def test_a_row_without_a_box_is_the_whole_picture(home):
    (home / "t.csv").write_text(f"{HEAD}b.png,dog,,,,\n")
    assert [item.box for item in sources.listing("csv:t.csv").items] == [(1, 2, 10, 10), None]


def test_width_and_height_alone_are_no_box(home):
    (home / "t.csv").write_text("path,label,width,height\na.png,cat,640,480\nb.png,dog,640,\n")
    assert [item.box for item in sources.listing("csv:t.csv").items] == [None, None]


@pytest.mark.parametrize("name", ["n" * 300 + ".png", "a\0.png"])
def test_a_name_that_no_file_can_have_is_a_refused_row(home, make_images, name):
    make_images(home / "pets", ["cat", "dog"], per_class=1)
    rows = {"path": ["pets/cat/000.png", "pets/dog/000.png", name], "label": ["cat", "dog", "dog"]}
    pd.DataFrame(rows).to_parquet(home / "t.parquet")
    _, rejected, _ = manifest.inspect(Run("t"), sources.listing("parquet:t.parquet").items)
    assert list(rejected["code"]) == ["unreadable"]
    assert sources.fingerprint("parquet:t.parquet") == sources.fingerprint("parquet:t.parquet")


@pytest.mark.parametrize("family", ["folder", "csv", "coco", "archive", "urls"])
def test_a_source_whose_name_is_too_long_is_refused_in_one_sentence(family):
    with pytest.raises(FastrecError, match="xxx"):
        sources.listing(f"{family}:{'x' * 300}")


def test_whole_numbers_of_a_table_with_gaps_stay_whole(home):
    frame = pd.DataFrame({"path": ["a.png", "b.png", "c.png"], "label": ["x", "y", "x"], "group": [1.0, None, 7.0]})
    frame.to_parquet(home / "t.parquet")
    assert [item.group for item in sources.listing("parquet:t.parquet").items] == ["1", None, "7"]
