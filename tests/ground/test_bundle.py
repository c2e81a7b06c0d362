"""A bundle comes back as it was saved, or says which file is damaged; nothing in it can run code."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
import torch

from fastrec import bundle as bundles
from fastrec.files import FastrecError
from fastrec.records import Preprocessing

FIELDS = {
    "name": "fastnet",
    "stage": "03_train",
    "run": "r",
    "architecture": "fastnet",
    "classes": ["a", "ü", "<b>"],
    "preprocessing": Preprocessing(size=8, resize="squish", mean=[0.5] * 3, std=[0.2] * 3),
    "parameters": 12,
    "valid": {"accuracy": 0.9},
    "data_sha256": "0" * 64,
}


@pytest.fixture
def weights():
    torch.manual_seed(0)
    convolution = torch.randn(4, 3, 3, 3).to(memory_format=torch.channels_last)
    return {"conv.weight": convolution, "bn.num_batches_tracked": torch.tensor(7), "half": torch.randn(3).half()}


@pytest.fixture
def folder(tmp_path, weights):
    bundles.save(tmp_path / "fastnet", weights, **FIELDS)
    return tmp_path / "fastnet"


def test_a_bundle_comes_back_bit_by_bit(folder, weights):
    bundle = bundles.load(folder)
    assert bundle.weights.keys() == weights.keys()
    for name, tensor in weights.items():
        assert bundle.weights[name].dtype == tensor.dtype
        assert torch.equal(bundle.weights[name], tensor)
    assert bundle.record.classes == ["a", "ü", "<b>"]
    assert bundle.record.preprocessing == FIELDS["preprocessing"]
    assert bundle.record.versions["torch"] == torch.__version__.split("+")[0]
    assert bundle.label == "03_train/fastnet"
    assert bundles.read_record(folder) == bundle.record


def test_weights_that_share_memory_are_saved(tmp_path):
    tied = torch.randn(3)
    bundles.save(tmp_path, {"one": tied, "two": tied}, **FIELDS)
    assert torch.equal(bundles.load(tmp_path).weights["two"], tied)


def test_two_files_and_no_pickle_among_them(folder):
    assert sorted(path.name for path in folder.iterdir()) == ["model.json", "model.safetensors"]
    data = (folder / "model.safetensors").read_bytes()
    json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])  # a length, a JSON header, plain numbers
    assert not data.startswith((b"\x80", b"PK"))


@pytest.mark.parametrize("place", [0.0, 0.3, 0.6, 0.99])
def test_a_flipped_bit_in_the_weights_is_named(folder, place):
    path = folder / "model.safetensors"
    data = bytearray(path.read_bytes())
    data[int(place * len(data))] ^= 1
    path.write_bytes(data)
    with pytest.raises(FastrecError, match=r"model\.safetensors is damaged \(sha256 differs .*: train the model again"):
        bundles.load(folder)


def test_weights_that_are_no_weights_are_named_even_when_the_checksum_was_forged(folder):
    from fastrec.files import checksum

    path = folder / "model.safetensors"
    path.write_bytes(b"\x80\x04" + bytes(100))
    text = (folder / "model.json").read_text()
    record = json.loads(text) | {"weights_sha256": checksum(path)}
    (folder / "model.json").write_text(json.dumps(record))
    with pytest.raises(FastrecError, match=r"model\.safetensors is damaged .*: train the model again") as caught:
        bundles.load(folder)
    assert "\n" not in str(caught.value)


def test_missing_files_are_named(folder):
    (folder / "model.safetensors").unlink()
    with pytest.raises(FastrecError, match=r"model\.safetensors is missing: train the model again"):
        bundles.load(folder)
    (folder / "model.json").unlink()
    with pytest.raises(FastrecError, match=r"holds no model\.json: name a bundle such as"):
        bundles.load(folder)
    with pytest.raises(FastrecError, match=r"holds no model\.json"):
        bundles.load(folder / "nowhere")


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "EOF"),
        ('{"name": "fast', "EOF"),
        ("[]", "object"),
        ('{"name": "fastnet"}', "stage: Field required"),
        ("\udcff", "utf-8"),
    ],
)
def test_a_damaged_record_names_the_file_and_the_field(folder, text, why):
    (folder / "model.json").write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(FastrecError, match=rf"model\.json is damaged \(.*{why}.*\): train the model again"):
        bundles.load(folder)


@pytest.mark.parametrize(
    "fields",
    [{"multi_label": True}, {"multi_label": True, "thresholds": [0.5]}, {"thresholds": [0.5] * 3}],
)
def test_thresholds_and_several_labels_come_together(tmp_path, weights, fields):
    with pytest.raises(ValueError, match="thresholds: a multi-label bundle has one for each class"):
        bundles.save(tmp_path / "x", weights, **(FIELDS | fields))
    bundles.save(tmp_path / "y", weights, **(FIELDS | {"multi_label": True, "thresholds": [0.1, 0.5, 0.9]}))
    assert bundles.load(tmp_path / "y").record.thresholds == [0.1, 0.5, 0.9]


def test_a_record_with_an_unknown_field_is_refused(folder):
    record = json.loads((folder / "model.json").read_text()) | {"colour": "red"}
    (folder / "model.json").write_text(json.dumps(record))
    with pytest.raises(FastrecError, match="colour: Extra inputs are not permitted"):
        bundles.read_record(folder)


def test_reading_a_record_loads_neither_torch_nor_fastai(folder):
    code = (
        "import sys; from pathlib import Path; from fastrec import bundle\n"
        "bundle.read_record(Path(sys.argv[1]))\n"
        "print(sorted({'torch', 'fastai', 'pandas', 'matplotlib'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code, str(folder)], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
