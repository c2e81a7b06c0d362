"""The hub's sets, each layout to its end: the library is the real one, only what it fetches lies here."""

import json
import shutil
from collections import Counter
from pathlib import Path

import huggingface_hub
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from fetched import drawn, told, write
from huggingface_hub.utils import filter_repo_objects

from fastrec.collect import manifest, sources
from fastrec.files import FastrecError
from fastrec.run import Run


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """Return a folder that stands for the repository me/pets of the hub."""
    repository = tmp_path / "hub"
    repository.mkdir()
    (repository / "README.md").write_text("---\nlicense: cc0-1.0\n---\n")
    (repository / ".gitattributes").write_text("*.parquet filter=lfs\n")

    def snapshot_download(repo_id, *, repo_type, local_dir, allow_patterns):
        assert (repo_id, repo_type) == ("me/pets", "dataset")
        files = [path.relative_to(repository).as_posix() for path in repository.rglob("*") if path.is_file()]
        for name in filter_repo_objects(files, allow_patterns=allow_patterns):
            write(Path(local_dir), name)
            shutil.copy(repository / name, f"{local_dir}/{name}")
        write(Path(local_dir), ".cache/huggingface/download/x.metadata")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot_download)
    return repository


def table(path, labels, *, seed=0, image="image", label="label", names=("cat", "dog", "zebra"), pictures=None):
    """Write a table as ``datasets`` pushes it to the hub."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if pictures is None:
        pictures = [{"bytes": drawn(seed + k), "path": f"{k}.png"} for k in range(len(labels))]
    features = {image: {"_type": "Image"}, label: {"names": list(names), "_type": "ClassLabel"}}
    made = pa.table({image: pictures, label: labels, "width": [12] * len(labels)})
    if names:
        made = made.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
    pq.write_table(made, path)


def test_the_hubs_usual_layout_is_collected_to_the_end(home, hub):
    table(hub / "data/train-00000-of-00002.parquet", [0, 1, 1], seed=0)
    table(hub / "data/train-00001-of-00002.parquet", [2, 1, 2], seed=10)
    table(hub / "data/validation-00000-of-00001.parquet", [0, 1], seed=20)
    table(hub / "data/test-00000-of-00001.parquet", [0, 2], seed=30)
    found = sources.listing("hf:me/pets")
    assert found.classes == ["cat", "dog", "zebra"]
    assert told(found) == {
        **{("train", "cat"): 1, ("train", "dog"): 3, ("train", "zebra"): 2},
        **{("valid", "cat"): 1, ("valid", "dog"): 1, ("test", "cat"): 1, ("test", "zebra"): 1},
        "not_a_picture": 1,  # the README
    }
    taken, refused, _ = manifest.inspect(Run("pets"), found.items)
    assert len(taken) == 10
    assert list(refused["code"]) == ["not_a_picture"]
    assert not list((home / "data/hf").rglob("*.parquet"))
    (item,) = [item for item in found.items if (item.split_hint, *item.labels) == ("train", "cat")]
    assert item.path.read_bytes() == drawn(0)
    shutil.rmtree(hub)
    assert sources.listing("hf:me/pets") == found


def test_a_split_may_be_a_folder_and_no_file_overwrites_another(home, hub):
    table(hub / "default/train/0000.parquet", [0, 1, 2], seed=0)
    table(hub / "default/train/0001.parquet", [0, 1, 2], seed=10)
    table(hub / "default/test/0000.parquet", [0, 1, 2], seed=20)
    found = sources.listing("hf:me/pets")
    assert Counter(item.split_hint for item in found.items if item.labels) == {"train": 6, "test": 3}
    assert len({item.path.read_bytes() for item in found.items if item.labels}) == 9


def test_without_any_split_named_none_is_given(home, hub):
    table(hub / "pictures.parquet", [0, 1], names=(), label="labels", image="img")
    assert told(sources.listing("hf:me/pets")) == {(None, "0"): 1, (None, "1"): 1, "not_a_picture": 1}


@pytest.mark.parametrize("unknown", [-1, None])
def test_a_picture_without_a_label_is_listed_as_such(home, hub, unknown):
    table(hub / "data/train-0.parquet", [0, 1, 2])
    table(hub / "data/test-0.parquet", [unknown, 2, unknown], seed=10)
    found = told(sources.listing("hf:me/pets"))
    assert found["no_label"] == 2
    assert found["test", "zebra"] == 1


def test_text_labels_nan_and_missing_pictures(home, hub):
    pictures = [drawn(0), None, drawn(1), drawn(2), drawn(3)]
    table(hub / "train.parquet", ["a/b", "c", "c", "", None], names=(), pictures=pictures)
    found = sources.listing("hf:me/pets")
    assert told(found) == {("train", "a-b"): 1, ("train", "c"): 2, "no_label": 2, "not_a_picture": 1}
    refused = manifest.inspect(Run("odd"), found.items)[1]
    assert sorted(refused["code"]) == ["empty_file", "no_label", "no_label", "not_a_picture"]
    shutil.rmtree(home / "data")
    table(hub / "train.parquet", [0.0, 1.0, float("nan")])
    assert told(sources.listing("hf:me/pets")) == {
        **{("train", "cat"): 1, ("train", "dog"): 1},
        **{"no_label": 1, "not_a_picture": 1},
    }


def test_the_columns_are_found_by_their_type(home, hub):
    table(hub / "train.parquet", [0, 1], image="jpg", label="breed")
    assert sources.listing("hf:me/pets").classes == ["cat", "dog"]


@pytest.mark.parametrize(
    ("labels", "more", "says"),
    [
        ([-1, None], {}, "no label for any of its 2 pictures"),
        ([0, 3], {}, r"train.parquet row 2 has the label 3, but 3 classes have names"),
        ([0, 1], {"label": "kind", "names": ()}, "one image and one label are needed"),
        ([[0, 1], [2]], {}, "label of type list"),
        (["..", "a"], {"names": ()}, r"the label '\.\.', which makes no folder"),
        (["a/b", "a-b"], {"names": ()}, "the label 'a-b', which makes no folder of its own"),
        (["x" * 300, "a"], {"names": ()}, "x…', which makes no folder"),
        (["a\0", "a"], {"names": ()}, "which makes no folder"),
        ([0, 0], {}, "is no set of class folders"),
    ],
)
def test_a_table_that_cannot_be_used_is_one_sentence(home, hub, labels, more, says):
    table(hub / "train.parquet", labels, **more)
    with pytest.raises(FastrecError, match=says):
        sources.listing("hf:me/pets")
    assert not list((home / "data").rglob("*.tmp"))


def test_a_damaged_table_is_one_sentence(home, hub):
    (hub / "train.parquet").write_bytes(b"PAR1 no more")
    with pytest.raises(FastrecError, match=r"hf:me/pets train.parquet cannot be read \([^\n]+\): fetch it again\.$"):
        sources.listing("hf:me/pets")
    table(hub / "train.parquet", [0, 1, 2])
    whole = bytearray((hub / "train.parquet").read_bytes())
    whole[4:40] = b"\xff" * 36
    (hub / "train.parquet").write_bytes(whole)
    with pytest.raises(FastrecError, match=r"hf:me/pets train.parquet cannot be read \([^\n]+\): fetch it again\.$"):
        sources.listing("hf:me/pets")


def test_of_several_configurations_one_must_be_named(home, hub):
    table(hub / "fine/train-0.parquet", [0, 1, 2])
    table(hub / "coarse/train-0.parquet", [0, 1, 0])
    with pytest.raises(FastrecError, match=r"the configurations coarse, fine: name one of them, hf:OWNER/NAME/CONF"):
        sources.listing("hf:me/pets")
    assert sources.listing("hf:me/pets/coarse").classes == ["cat", "dog"]
    assert (home / "data/hf/me--pets--coarse/README.md").is_file()


def test_a_configuration_is_named_as_it_was_told_and_nothing_is_kept_of_one_that_is_not_there(home, hub):
    for name in ("data/fr/train-0.parquet", "data/en/train-0.parquet"):
        table(hub / name, [0, 1, 0])
    with pytest.raises(FastrecError, match="the configurations data/en, data/fr: name one"):
        sources.listing("hf:me/pets")
    with pytest.raises(
        FastrecError, match="hf:me/pets/en holds neither class folders nor tables of pictures: check its"
    ):
        sources.listing("hf:me/pets/en")
    assert not list((home / "data/hf").glob("me--pets*"))
    assert sources.listing("hf:me/pets/data/en").classes == ["cat", "dog"]


@pytest.mark.parametrize("above", ["", "data/", "pets/images/"])
def test_plain_class_folders_of_the_hub(home, hub, above):
    write(hub / above, "train/cat/1.png", "train/dog/2.png", "test/cat/3.png", "test/dog/4.png")
    found = sources.listing("hf:me/pets")
    assert found.classes == ["cat", "dog"]
    assert Counter(item.split_hint for item in found.items if item.labels) == {"train": 2, "test": 2}


@pytest.mark.parametrize("names", [("train/1.png", "test/2.png"), ("data/train.zip",)])
def test_a_set_of_the_hub_without_labels_is_refused(home, hub, names):
    write(hub, *names)
    with pytest.raises(FastrecError, match=r"hf:me/pets is no set of class folders: sort .*me--pets.* and use folder:"):
        sources.listing("hf:me/pets")
