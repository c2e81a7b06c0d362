"""COCO annotations in their three readings."""

import json
import shutil
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastrec.collect import manifest, sources
from fastrec.files import FastrecError
from fastrec.preprocess import splits
from fastrec.run import Run

CATEGORIES = [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}]


@pytest.fixture
def annotations(home, make_images):
    make_images(home / "set" / "train2017", ["x"], per_class=4, size=32)
    names = [f"x/{k:03d}.png" for k in range(4)]
    content = {
        "images": [{"id": k, "file_name": name} for k, name in enumerate([*names, "gone.png"])],
        "categories": CATEGORIES,
        "annotations": [
            {"image_id": 0, "category_id": 1, "bbox": [0, 0, 16, 16]},
            {"image_id": 0, "category_id": 1, "bbox": [8, 8, 16, 16]},
            {"image_id": 1, "category_id": 1, "bbox": [0, 0, 16, 16]},
            {"image_id": 1, "category_id": 2, "bbox": [4, 4, 16, 16]},
            {"image_id": 2, "category_id": 2, "bbox": [0, 0, 16, 16]},
            {"image_id": 2, "category_id": 1, "bbox": [0, 0, 9, 9], "iscrowd": 1},
            {"image_id": 4, "category_id": 2, "bbox": [0, 0, 9, 9]},
        ],
    }
    path = home / "set" / "annotations" / "instances_train2017.json"
    path.parent.mkdir()
    path.write_text(json.dumps(content))
    return path


def by_name(source):
    return {
        (item.path.name, item.box): item.problem[0] if item.problem else item.labels
        for item in sources.listing(source).items
    }


def test_one_label_where_all_boxes_agree(annotations):
    assert by_name(f"coco:{annotations}") == {
        ("000.png", None): ("cat",),
        ("001.png", None): "several_labels",
        ("002.png", None): ("dog",),
        ("003.png", None): "no_label",
        ("gone.png", None): "unreadable",
    }


def test_all_labels_of_an_image(annotations):
    assert by_name(f"coco-multi:{annotations}")["001.png", None] == ("cat", "dog")


def test_one_crop_per_box(annotations):
    found = sources.listing(f"coco-crop:{annotations}").items
    crops = [item for item in found if item.path.name == "001.png"]
    assert [(item.labels, item.box) for item in crops] == [(("cat",), (0, 0, 16, 16)), (("dog",), (4, 4, 16, 16))]
    assert {item.split_hint for item in crops} == {"train"}


def write(path, names, boxes=([0, 0, 16, 16],), **more):
    """Annotate each picture with the boxes, the first as a cat, the next as a dog, and so on."""
    images = [{"id": k, "file_name": name} for k, name in enumerate(names)]
    entries = [
        {"image_id": k, "category_id": 1 + (k + j) % 2, "bbox": box}
        for k in range(len(names))
        for j, box in enumerate(boxes)
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"images": images, "annotations": entries, "categories": CATEGORIES} | more))
    return f"coco-crop:{path}"


def test_crops_of_one_photo_stay_on_one_side_of_the_split(home, make_images):
    make_images(home / "set", ["x"], per_class=12, size=32)
    source = write(home / "set/x/all.json", [f"{k:03d}.png" for k in range(12)], ([0, 0, 16, 16], [8, 8, 20, 20]))
    table, _, _ = manifest.inspect(Run("t"), sources.listing(source).items)
    sides = splits.split(table).merge(table[["image_id", "path"]], on="image_id").groupby("path")["split"]
    assert len(table) == 24
    assert (sides.nunique() == 1).all()


def test_photos_numbered_anew_in_each_split_are_different_photos(home, make_images):
    found = []
    for seed, name in enumerate(("train", "valid", "test")):
        make_images(home / "set" / name, ["x"], per_class=4, size=32, seed=seed)
        found.append(write(home / "set" / name / "x" / f"{name}.json", [f"{k:03d}.png" for k in range(4)]))
    table, rejected, _ = manifest.inspect(Run("t"), sources.listing(found).items)
    assert rejected.empty
    divided = splits.split(table).merge(table[["image_id", "split_hint"]], on="image_id")
    assert (divided["split"] == divided["split_hint"]).all()


@pytest.fixture
def numbered(home, make_images):
    """Make two folders of pictures with the same names."""
    for seed, name in enumerate(("train", "val")):
        make_images(home / "set", [name], per_class=2, seed=seed)
    return home / "set"


def test_of_equal_names_those_in_the_folder_of_the_split_are_meant(numbered):
    found = sources.listing(write(numbered / "annotations/instances_val.json", ["000.png", "001.png", "gone.png"]))
    assert [str(item.path.relative_to(numbered)) for item in found.items] == [
        "val/000.png",
        "val/001.png",
        "val/gone.png",
    ]
    assert [item.problem and item.problem[0] for item in found.items] == [None, None, "unreadable"]


def test_strays_beside_the_file_do_not_hide_the_folder_of_the_split(numbered):
    (numbered / "annotations").mkdir()
    shutil.copy(numbered / "val/001.png", numbered / "annotations")
    found = sources.listing(write(numbered / "annotations/instances_val.json", ["000.png", "001.png"]))
    assert [item.path.parent.name for item in found.items] == ["annotations", "val"]
    assert not any(item.problem for item in found.items)


def test_a_neighbour_named_images_goes_before_others(home, make_images):
    for seed, name in enumerate(("images", "masks")):
        make_images(home / "set", [name], per_class=2, seed=seed)
    found = sources.listing(write(home / "set/annotations/all.json", ["000.png", "001.png"]))
    assert {item.path.parent.name for item in found.items} == {"images"}


def test_the_folders_of_the_splits_may_lie_in_images(home, make_images):
    for seed, name in enumerate(("train2017", "val2017")):
        make_images(home / "set/images", [name], per_class=2, seed=seed)
    for name in ("train2017", "val2017"):
        found = sources.listing(write(home / f"set/annotations/instances_{name}.json", ["000.png", "001.png"]))
        assert {item.path.parent.name for item in found.items} == {name}


def test_only_crops_ask_for_boxes(numbered):
    source = write(numbered / "val/x.json", ["000.png", "001.png"], ([],))
    assert len(sources.listing(source.replace("coco-crop", "coco-multi")).items) == 2
    with pytest.raises(FastrecError, match="its bbox is not four numbers"):
        sources.listing(source)


def test_pictures_of_another_split_are_not_taken(numbered):
    for path in (numbered / "val").iterdir():
        path.unlink()
    with pytest.raises(FastrecError, match=r"instances_val\.json names pictures, such as '000\.png', but none lies"):
        sources.listing(write(numbered / "annotations/instances_val.json", ["000.png", "001.png"]))


def test_a_picture_that_may_be_one_of_two_is_refused_until_its_folder_is_given(numbered):
    with pytest.raises(FastrecError, match=r"'000\.png' may be .*train/000\.png or .*val/000\.png: write the folder"):
        sources.listing(write(numbered / "annotations/all.json", ["000.png", "001.png"]))
    found = sources.listing(write(numbered / "annotations/all.json", ["train/000.png", "val/000.png"]))
    assert [item.path.parent.name for item in found.items] == ["train", "val"]


def test_a_picture_that_is_missing_in_its_folder_is_not_taken_from_another(numbered):
    source = write(numbered / "val/x.json", ["000.png", "001.png", "sub/001.png"])
    _, rejected, _ = manifest.inspect(Run("t"), sources.listing(source).items)
    assert list(rejected["path"]) == ["set/val/sub/001.png"]
    assert rejected["message"][0] == (
        "set/val/sub/001.png is not there, nor in a folder near it: put it there, or mend its file_name."
    )


@pytest.mark.parametrize("name", ["n" * 300 + ".png", "a\0.png"])
def test_a_name_that_no_file_can_have_is_a_refused_row(numbered, name):
    source = write(numbered / "val/x.json", ["000.png", "001.png", name])
    _, rejected, _ = manifest.inspect(Run("t"), sources.listing(source).items)
    assert list(rejected["code"]) == ["unreadable"]
    assert sources.fingerprint(source) == sources.fingerprint(source)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"annotations": ["x"]}, r"annotations\[0\] the entry 'x' \(it is no object\): mend it"),
        ({"annotations": [{"image_id": 9, "category_id": 1, "bbox": [0, 0, 9, 9]}]}, "points to image_id 9, which is"),
        ({"annotations": [{"image_id": 0, "category_id": 7, "bbox": [0, 0, 9, 9]}]}, "points to category_id 7, which"),
        ({"annotations": [{"image_id": 0, "category_id": 1, "bbox": [0, 0, 9]}]}, "its bbox is not four numbers"),
        ({"annotations": [{"image_id": 0, "category_id": 1}]}, "it lacks 'bbox'"),
        ({"images": [{"id": 0, "file_name": "\ud800.png"}]}, r"images\[0\] the entry .*ud800"),
        ({"images": [{"id": 0, "file_name": name} for name in "ab"]}, r"images\[1\] .*another has its id"),
        ({"categories": [{"id": 1, "name": "\ud800"}]}, r"categories\[0\] the entry .*ud800"),
        ({"categories": 3}, "no list of categories"),
    ],
)
def test_the_entry_that_is_at_fault_is_named(numbered, change, says):
    with pytest.raises(FastrecError, match=says) as caught:
        sources.listing(write(numbered / "val/x.json", ["000.png", "001.png"], **change))
    assert "x.json" in str(caught.value)


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.sampled_from(["\ud800", 10**400, "../x"]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=2),
    max_leaves=5,
)
PLACES = [(kind, 0, name) for kind, name in (("images", "id"), ("images", "file_name"), ("categories", "name"))]
PLACES += [("annotations", 0, name) for name in ("image_id", "category_id", "bbox", "iscrowd")]
PLACES += [(kind, 0) for kind in ("images", "categories", "annotations")] + [("images",), ("annotations",)]


@given(place=st.sampled_from(PLACES), value=ANYTHING, mode=st.sampled_from(["coco", "coco-multi", "coco-crop"]))
def test_whatever_stands_in_a_field_ends_in_rows_or_in_a_sentence(tmp_path_factory, place, value, mode):
    folder = tmp_path_factory.getbasetemp() / "fuzzed"
    source = write(folder / "x.json", ["000.png", "001.png"]).replace("coco-crop", mode)
    for name in ("000.png", "001.png"):
        (folder / name).touch()
    content = json.loads((folder / "x.json").read_text())
    *above, last = place
    holder = content
    for step in above:
        holder = holder[step]
    holder[last] = value
    (folder / "x.json").write_text(json.dumps(content))
    with suppress(FastrecError):
        sources.fingerprint(source)
        assert all(item.box is None or len(item.box) == 4 for item in sources.listing(source).items)


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"images": [{}], "annotations": [], "categories": []}', '{"images": 3}', "\0"]
)
def test_what_is_no_coco_file_is_refused(home, text):
    (home / "a.json").write_text(text)
    with pytest.raises(FastrecError, match=r"a\.json"):
        sources.listing("coco:a.json")


def test_a_file_name_cannot_lead_outside(annotations):
    (annotations.parents[2] / "secret.png").write_bytes(b"x")
    content = json.loads(annotations.read_text())
    content["images"][0]["file_name"] = "../../secret.png"
    annotations.write_text(json.dumps(content))
    assert [item.problem[0] for item in sources.listing(f"coco:{annotations}").items if "secret" in item.file] == [
        "unreadable"
    ]
