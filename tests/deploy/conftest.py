"""Bundles with random weights, and pictures of many kinds: all that the tests of this stage share."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from fastrec import bundle as bundles
from fastrec.bundle import Bundle

CLASSES = ["ant", "$bee$", "<img src=x onerror=alert(1)>", "дом"]


def make_bundle(folder, architecture="fastnet", resize="squish", size=32, classes=CLASSES, **fields) -> Bundle:
    """Save and load a bundle of random weights, with batch statistics that a trained network could have."""
    import torch

    from fastrec.train import architectures

    torch.manual_seed(0)
    options = {"width": 8} if architecture == "fastnet" else {}
    network = architectures.build(architecture, len(classes), **options)
    with torch.no_grad():  # some steps of batch statistics, so that the network is neither flat nor wild
        for _ in range(3):
            network.train()(torch.randn(8, 3, size, size))
    settings = {
        "name": "small",
        "stage": "03_train",
        "run": "trial",
        "architecture": architecture,
        "architecture_options": options,
        "classes": list(classes),
        "preprocessing": {
            "size": size,
            "resize": resize,
            "mean": [0.4, 0.5, 0.6],
            "std": [0.2, 0.25, 0.3],
        },
        "parameters": architectures.parameter_count(network),
        "valid": {"accuracy": 0.5},
        "data_sha256": "0" * 64,
        "temperature": 1.7,
    }
    bundles.save(folder, network.state_dict(), **(settings | fields))
    return bundles.load(folder)


def photo(width: int, height: int, seed: int = 0) -> np.ndarray:
    """Make a picture with soft shapes and some grain, (height, width, 3)."""
    rng = np.random.default_rng(seed)
    soft = Image.fromarray(rng.integers(0, 256, (6, 7, 3), dtype=np.uint8)).resize((width, height), 3)
    grain = rng.integers(-12, 13, (height, width, 3))
    return np.clip(np.asarray(soft, np.int16) + grain, 0, 255).astype(np.uint8)


def encode(pixels: np.ndarray, kind: str = "PNG", **options) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, kind, **options)
    return stream.getvalue()


def turned(pixels: np.ndarray, orientation: int) -> bytes:
    """Encode as a JPEG whose EXIF tells to turn it."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    return encode(pixels, "JPEG", exif=exif)


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("FASTREC_HOME", str(tmp_path))
    return tmp_path
