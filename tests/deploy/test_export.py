from __future__ import annotations

import numpy as np
import onnx
import pytest
from conftest import encode, make_bundle, photo, turned

from fastrec import images
from fastrec.deploy import export
from fastrec.files import FastrecError

SIZES = [(32, 32), (8, 8), (48, 64), (64, 48), (300, 200), (31, 900), (1200, 701)]


def pictures():
    files = [turned(photo(97, 61, n), n) for n in (3, 6, 8)] + [encode(photo(80, 50), "WEBP")]
    return [photo(w, h, seed) for seed, (w, h) in enumerate(SIZES)] + [images.decode(f).pixels for f in files]


@pytest.mark.parametrize("resize", ["squish", "crop"])
@pytest.mark.parametrize("architecture", ["fastnet", "resnet18", "mobilenetv3_small_100"])
def test_graph_answers_as_torch_on_pictures_of_all_sizes(tmp_path, architecture, resize):
    bundle = make_bundle(tmp_path / "b", architecture, resize)
    path = export.export(bundle, tmp_path)
    found = export.parity(bundle, path, pictures())
    assert found.pictures == len(pictures())
    assert found.network <= 1e-5
    assert found.picture <= 1e-3
