"""What every test may use: a home of its own, small picture folders, and the real data where it is named."""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch is loaded: as many test processes run as there are cores

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import settings
from PIL import Image

from fastrec.run import Run

settings.register_profile("fastrec", deadline=None, max_examples=50)
settings.load_profile("fastrec")

COLOURS = ((200, 40, 40), (40, 160, 60), (50, 80, 200), (200, 160, 30), (140, 50, 160))


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Keep runs, data and reports of a test below its own temporary folder."""
    monkeypatch.setenv("FASTREC_HOME", str(tmp_path))
    return tmp_path


def draw(label: int, random: np.random.Generator, size: int) -> np.ndarray:
    """Draw a noisy picture of class ``label``: a bright square in the class's colour, placed at random."""
    pixels = random.integers(0, 60, (size, size, 3))
    side = size // 2
    top, left = random.integers(0, size - side + 1, 2)
    pixels[top : top + side, left : left + side] += np.array(COLOURS[label % len(COLOURS)])
    return np.clip(pixels, 0, 255).astype(np.uint8)


@pytest.fixture(scope="session")
def make_images() -> Callable[..., Path]:
    """Return a function that writes class folders of PNG pictures whose colour tells the class."""

    def write(
        folder: Path, classes: Sequence[str] = ("a", "b"), per_class: int = 6, size: int = 16, seed: int = 0
    ) -> Path:
        random = np.random.default_rng(seed)
        for label, name in enumerate(classes):
            (folder / name).mkdir(parents=True)
            for k in range(per_class):
                Image.fromarray(draw(label, random, size)).save(folder / name / f"{k:03d}.png")
        return folder

    return write


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """Return the folder of real picture sets that FASTREC_DATA names, or skip."""
    folder = os.environ.get("FASTREC_DATA")
    if not folder or not Path(folder).is_dir():
        pytest.skip("FASTREC_DATA does not name a folder of real picture sets")
    return Path(folder)


@pytest.fixture
def run(home: Path, make_images: Callable[..., Path]) -> Run:
    """Return a run that is ready to train: two classes that a colour tells apart, split and cached."""
    from fastrec.artefacts import MANIFEST, SPLITS
    from fastrec.collect import manifest, sources
    from fastrec.preprocess import cache, splits

    make_images(home / "pets", ["cat", "dog"], per_class=30, size=16)
    made = Run("t")
    table, _, _ = manifest.inspect(made, sources.listing("folder:pets").items)
    made.write(MANIFEST, table)
    split = splits.split(table)
    made.write(SPLITS, split)
    cache.build(made, table, split, 16)
    return made
