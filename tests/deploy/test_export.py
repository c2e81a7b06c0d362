from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest

from fastrec import channels, images
from fastrec.deploy import export, graph
from fastrec.files import FastrecError
from fastrec.records import Preprocessing

RULES = ("squish", "crop", "pad")
SIZES = [(32, 32), (8, 8), (48, 64), (64, 48), (300, 200), (31, 900), (1200, 701)]


@pytest.fixture
def pictures(photo, encode, turned):
    files = [turned(photo(97, 61, n), n) for n in (3, 6, 8)] + [encode(photo(80, 50), "WEBP")]
    return [photo(w, h, seed) for seed, (w, h) in enumerate(SIZES)] + [images.decode(f).pixels for f in files]


FAMILIES = [
    ("fastnet", "squish", 16),
    ("fastnet", "crop", 32),
    ("resnet18", "crop", 64),
    ("fastnet", "pad", 48),
    ("mobilenetv3_small_100", "squish", 48),
]


@pytest.mark.parametrize("family", FAMILIES)
def test_graph_answers_as_torch_on_pictures_of_all_sizes(tmp_path, save_bundle, pictures, family):
    bundle = save_bundle(tmp_path / "bundle", *family)
    found = export.parity(bundle, export.export(bundle, tmp_path), pictures)
    assert found.pictures == len(pictures)
    assert found.network <= 1e-5
    assert found.picture <= 1e-3  # of random weights; a trained network is more sensitive


def run_graph(path, pixels):
    session = onnxruntime.InferenceSession(str(path))
    return session.run(["probabilities"], {"image": pixels})[0]


def test_probabilities_sum_to_one_and_are_tempered(tmp_path, save_bundle, photo):
    warm = export.export(save_bundle(tmp_path / "a", temperature=50.0), tmp_path)
    scores = run_graph(warm, photo(40, 30))
    assert scores.shape == (1, 4)
    assert scores.sum() == pytest.approx(1, abs=1e-6)
    assert scores.max() < 0.3  # a high temperature makes all classes alike


def test_several_labels_are_independent(tmp_path, save_bundle, photo, pictures, classes):
    bundle = save_bundle(tmp_path / "a", multi_label=True, thresholds=[0.5] * len(classes))
    path = export.export(bundle, tmp_path)
    assert abs(run_graph(path, photo(40, 30)).sum() - 1) > 1e-3
    assert export.parity(bundle, path, pictures).network <= 1e-5


def test_graph_is_one_bare_file_that_the_checker_passes(tmp_path, save_bundle):
    path = export.export(save_bundle(tmp_path / "a"), tmp_path)
    graph = export.load(path)
    assert not any(node.metadata_props or node.doc_string for node in graph.graph.node)
    assert b"site-packages" not in path.read_bytes()
    table = export.describe(path)
    assert table.loc["input", ["name", "type", "shape"]].tolist() == ["image", "uint8", "height x width x 3"]
    assert table.loc["output", "shape"] == "1 x 4"


def test_export_is_reproducible(tmp_path, save_bundle):
    bundle = save_bundle(tmp_path / "a")
    first = export.export(bundle, tmp_path).read_bytes()
    assert export.export(bundle, tmp_path).read_bytes() == first


def test_other_weights_are_noticed(tmp_path, save_bundle, pictures):
    path = export.export(save_bundle(tmp_path / "a", seed=0), tmp_path)
    with pytest.raises(FastrecError, match="answers differently from 03_train/small"):
        export.parity(save_bundle(tmp_path / "b", seed=1), path, pictures)


def test_parity_of_nothing_is_refused(tmp_path, save_bundle):
    bundle = save_bundle(tmp_path / "a")
    with pytest.raises(FastrecError, match="needs pictures"):
        export.parity(bundle, export.export(bundle, tmp_path), [])


def test_weights_in_other_files_are_refused(tmp_path, save_bundle):
    path = export.export(save_bundle(tmp_path / "a"), tmp_path)
    onnx.save_model(onnx.load(path), path, save_as_external_data=True, location="weights.bin", size_threshold=0)
    with pytest.raises(FastrecError, match="keeps weights in other files"):
        export.load(path)


@pytest.mark.parametrize("content", [b"", b"no graph", None])
def test_broken_graph_is_refused(tmp_path, content):
    path = tmp_path / "model.onnx"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(FastrecError, match="not a whole ONNX graph"):
        export.load(path)


def test_network_that_cannot_be_exported_is_named(tmp_path, save_bundle, monkeypatch):
    import torch

    def fail(*_arguments, **_options):
        raise torch.onnx.OnnxExporterError("no such operator\nmore")

    bundle = save_bundle(tmp_path / "a")
    monkeypatch.setattr(torch.onnx, "export", fail)
    with pytest.raises(FastrecError, match=r"fastnet cannot be exported to ONNX \(no such operator\)"):
        export.export(bundle, tmp_path)


def test_resize_in_the_graph_is_pillows(tmp_path, save_bundle, pictures):
    """With a network that passes its pixels on, the graph's resize itself can be looked at."""
    preprocessing = save_bundle(tmp_path / "a", size=48).record.preprocessing
    for rule in RULES:
        preprocessing = preprocessing.model_copy(update={"mean": [0] * 3, "std": [1 / 255] * 3, "resize": rule})
        session = onnxruntime.InferenceSession(graph.prepare(preprocessing).SerializeToString())
        for picture in pictures:
            given = session.run(None, {"image": picture})[0][0].transpose(1, 2, 0)
            expected = images.resize(picture, 48, rule).astype(float)
            assert np.abs(given - expected).max() < 2.5  # each of two passes may round a tie otherwise
            assert np.abs(given - expected).mean() < 0.2


@pytest.mark.parametrize("rule", RULES)
def test_grey_in_the_graph_is_pillows_exactly(rule, photo):
    """At the network's own size, where nothing is resized, no level may differ."""
    preprocessing = Preprocessing(size=48, resize=rule, mean=[0], std=[1 / 255], channels=1)
    session = onnxruntime.InferenceSession(graph.prepare(preprocessing).SerializeToString())
    for pixels in (photo(48, 48), np.random.default_rng(0).integers(0, 256, (48, 48, 3), dtype=np.uint8)):
        (given,) = session.run(None, {"image": pixels})
        assert given.shape == (1, 1, 48, 48)
        np.testing.assert_allclose(given[0, 0], channels.reduced(pixels, 1)[..., 0], atol=1e-4)
