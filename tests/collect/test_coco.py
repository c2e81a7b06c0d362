"""COCO annotations in their three readings."""

import json

import pytest

from fastrec.collect import sources
from fastrec.files import FastrecError


@pytest.fixture
def annotations(home, make_images):
    make_images(home / "set" / "train2017", ["x"], per_class=4, size=32)
    names = [f"x/{k:03d}.png" for k in range(4)]
    content = {
        "images": [{"id": k, "file_name": name} for k, name in enumerate([*names, "gone.png"])],
        "categories": [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}],
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
        ("gone.png", None): ("dog",),
    }


def test_all_labels_of_an_image(annotations):
    assert by_name(f"coco-multi:{annotations}")["001.png", None] == ("cat", "dog")


def test_one_crop_per_box_grouped_by_image(annotations):
    found = sources.listing(f"coco-crop:{annotations}").items
    crops = [item for item in found if item.path.name == "001.png"]
    assert [(item.labels, item.box) for item in crops] == [(("cat",), (0, 0, 16, 16)), (("dog",), (4, 4, 16, 16))]
    assert {item.group for item in crops} == {"001.png"}
    assert {item.split_hint for item in crops} == {"train"}


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
    assert not [
        item
        for item in sources.listing(f"coco:{annotations}").items
        if item.path.is_file() and "secret" in item.path.name
    ]
