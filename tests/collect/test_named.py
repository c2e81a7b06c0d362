"""Public sets by name: what offline says, and the hub's Parquet layout."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from fastrec.collect import sources
from fastrec.collect.sources import folder, named
from fastrec.files import FastrecError


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ("fastai:PETZ", "did you mean PETS"),
        ("torchvision:CIFAR11", "did you mean CIFAR10"),
        ("hf:justaname", "write hf:owner/name"),
    ],
)
def test_an_unknown_name_lists_the_nearest(home, source, says):
    with pytest.raises(FastrecError, match=says):
        sources.listing(source)


def test_offline_is_one_sentence_with_a_way_around(home, monkeypatch):
    import huggingface_hub

    def offline(*args, **kwargs):
        raise ConnectionError("no route")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", offline)
    with pytest.raises(FastrecError, match=r"hf:a/b could not be fetched \(ConnectionError\).*folder:PATH"):
        sources.listing("hf:a/b")
    assert not (home / "data/hf/a--b").exists()


def test_the_hubs_parquet_becomes_class_folders(tmp_path):
    stream = (tmp_path / "p.png").open("w+b")
    Image.fromarray(np.zeros((9, 9, 3), np.uint8)).save(stream, "PNG")
    stream.seek(0)
    picture = stream.read()
    stream.close()
    info = {"info": {"features": {"label": {"names": ["cat", "dog"]}}}}
    columns = {"image": [{"bytes": picture, "path": None}] * 4, "label": [0, 1, 1, 0]}
    made = pa.table(columns).replace_schema_metadata({"huggingface": json.dumps(info)})
    pq.write_table(made, tmp_path / "test-00000-of-00001.parquet")
    named.unpack_parquet(tmp_path / "test-00000-of-00001.parquet", tmp_path / "out")
    found = folder.listing(tmp_path / "out")
    assert found.classes == ["cat", "dog"]
    assert [item.split_hint for item in found.items] == ["test"] * 4


def test_a_torchvision_set_becomes_class_folders_once(home, monkeypatch):
    from torchvision import datasets

    class Tiny:
        classes = ("up", "down")

        def __init__(self, root, train, download):
            self.rows = [(Image.new("RGB", (9, 9), (40 * k, 9, 9 if train else 99)), k % 2) for k in range(4)]

        def __len__(self):
            return len(self.rows)

        def __getitem__(self, index):
            return self.rows[index]

    monkeypatch.setattr(datasets, "CIFAR10", Tiny)
    found = sources.listing("torchvision:CIFAR10")
    assert found.classes == ["down", "up"]
    assert [item.split_hint for item in found.items].count("test") == 4
    monkeypatch.setattr(datasets, "CIFAR10", None)
    assert sources.listing("torchvision:CIFAR10") == found
