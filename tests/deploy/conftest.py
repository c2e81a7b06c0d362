"""A small run with real files and bundles of random weights: what the tests of this stage share."""

from __future__ import annotations

import hashlib
import io
import shutil

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from fastrec import bundle as bundles
from fastrec import files, images
from fastrec.artefacts import BUNDLE, CACHE, IMAGES, MANIFEST, PREDICTIONS, SPLITS
from fastrec.records import CacheInfo
from fastrec.run import Run

CLASSES = ["$bee$", "<img src=x onerror=alert(1)>", "ant", "дом"]
SIZE = 16


def _photo(width: int, height: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    soft = Image.fromarray(rng.integers(0, 256, (6, 7, 3), dtype=np.uint8)).resize((width, height), 3)
    grain = rng.integers(-12, 13, (height, width, 3))
    return np.clip(np.asarray(soft, np.int16) + grain, 0, 255).astype(np.uint8)


def _encode(pixels: np.ndarray, kind: str = "PNG", **options) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, kind, **options)
    return stream.getvalue()


def _turned(pixels: np.ndarray, orientation: int) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return _encode(pixels, "JPEG", exif=exif)


def _save_bundle(folder, architecture="fastnet", resize="squish", size=SIZE, seed=0, **fields):
    import torch

    from fastrec.train import architectures

    torch.manual_seed(seed)
    options = {"width": 8} if architecture == "fastnet" else {}
    network = architectures.build(architecture, len(CLASSES), **options)
    with torch.no_grad():  # a few batch statistics, so that the network is neither flat nor wild
        for _ in range(3):
            network.train()(torch.randn(8, 3, size, size))
    preprocessing = {"size": size, "resize": resize, "mean": [0.4, 0.5, 0.6], "std": [0.2, 0.25, 0.3]}
    settings = {"name": "small", "stage": "03_train", "run": "tiny", "architecture": architecture}
    settings |= {"architecture_options": options, "classes": CLASSES, "preprocessing": preprocessing}
    settings |= {"parameters": architectures.parameter_count(network), "valid": {"accuracy": 0.5}}
    settings |= {"data_sha256": "0" * 64, "temperature": 1.7}
    bundles.save(folder, network.state_dict(), **(settings | fields))
    return bundles.load(folder)


def _manifest_row(run: Run, number: int) -> dict:
    pixels = _photo(24 + 5 * number, 60 - number, number)
    data = _turned(pixels, 6) if number % 5 == 0 else _encode(pixels)
    path = run.folder.parents[1] / "data" / f"{number:02d} $x<b>.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    upright = images.decode(data).pixels
    facts = {"width": upright.shape[1], "height": upright.shape[0], "mode": "RGB", "format": "PNG", "bytes": len(data)}
    given = {"labels": [CLASSES[number % 4]], "group": None, "split_hint": None, "box": None, "warnings": []}
    identity = {"image_id": hashlib.sha256(data).hexdigest(), "path": run.shorten(path), "source": "folder:data"}
    return identity | facts | given


def _make_run(home) -> Run:
    run = Run("tiny")
    manifest = pd.DataFrame([_manifest_row(run, number) for number in range(24)])
    run.write(MANIFEST, manifest)
    splits = pd.DataFrame(
        {
            "image_id": manifest["image_id"],
            "label": manifest["labels"].str[0],
            "split": ["train", "valid", "test"] * 8,
            "fold": 0,
            "group": manifest["image_id"],
            "row": range(24),
        }
    )
    run.write(SPLITS, splits)
    with run.writing(IMAGES) as temporary, temporary.open("wb") as stream:
        decoded = [images.decode(run.locate(path).read_bytes()).pixels for path in manifest["path"]]
        np.save(stream, np.stack([images.resize(pixels, SIZE) for pixels in decoded]))
    cache = {"n": 24, "size": SIZE, "resize": "squish", "mean": [0.4, 0.5, 0.6], "std": [0.2, 0.25, 0.3]}
    run.write(CACHE, CacheInfo(**cache, classes=CLASSES))
    for seed, (stage, name) in enumerate((("train", "small"), ("tune", "best"))):
        with run.writing(BUNDLE, name, stage) as folder:
            fields = {"stage": f"0{seed + 3}_{stage}", "name": name, "data_sha256": files.checksum(run.path(SPLITS))}
            _save_bundle(folder, seed=seed, **fields)
    return run


@pytest.fixture
def photo():
    """Return what makes a picture with soft shapes and some grain: ``photo(width, height, seed)``."""
    return _photo


@pytest.fixture
def encode():
    """Return what writes pixels as an image file's bytes: ``encode(pixels, kind)``."""
    return _encode


@pytest.fixture
def turned():
    """Return what writes a JPEG whose EXIF tells to turn it: ``turned(pixels, orientation)``."""
    return _turned


@pytest.fixture
def save_bundle():
    """Return what saves and loads a bundle of random weights: ``save_bundle(folder, architecture, ...)``."""
    return _save_bundle


@pytest.fixture
def classes():
    return CLASSES


@pytest.fixture(scope="session")
def _finished_home(tmp_path_factory):
    """A home folder with one run that was collected, trained, evaluated and packaged; not to be changed."""
    from fastrec.deploy import package
    from fastrec.evaluate.predict import predictions

    home = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FASTREC_HOME", str(home))
        run = _make_run(home)
        run.write(PREDICTIONS, predictions(run, "03_train/small"))
        package.build(run, "03_train/small")
    return home


@pytest.fixture
def run(_finished_home, tmp_path, monkeypatch) -> Run:
    """Give a copy of the finished run, free to be changed."""
    shutil.copytree(_finished_home, tmp_path / "home")
    monkeypatch.setenv("FASTREC_HOME", str(tmp_path / "home"))
    return Run("tiny")


@pytest.fixture(scope="session")
def package_folder(_finished_home):
    """Give a package; not to be changed."""
    return _finished_home / "runs" / "tiny" / "06_deploy" / "package"
