"""The toy run, made once, and logs as the service writes them."""

import shutil

import numpy as np
import pandas as pd
import pytest
import toy

from fastrec.deploy.recorder import PREDICTIONS_TABLE, open_log
from fastrec.run import Run


@pytest.fixture(scope="session")
def finished_home(tmp_path_factory):
    home = tmp_path_factory.mktemp("monitor")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FASTREC_HOME", str(home))
        toy.build()
    return home


@pytest.fixture
def run(finished_home, tmp_path, monkeypatch):
    """Return the toy run in a home of its own."""
    shutil.copytree(finished_home, tmp_path, dirs_exist_ok=True)
    monkeypatch.setenv("FASTREC_HOME", str(tmp_path))
    return Run("toy")


def rows(n, first=0, **changes):
    """Make rows of the log, as the service fills them in."""
    rng = np.random.default_rng(first)
    numbers = {name: rng.random() for name in ("brightness", "contrast", "sharpness", "saturation")}
    return [
        {
            "id": f"{rng.integers(2**60):032x}",
            "time": f"2026-03-0{1 + k % 3}T10:00:{k % 60:02d}.123+00:00",
            "image_id": f"{k:064x}",
            "path": "picture.png",
            "predicted": "cat",
            "score": 0.9,
            "scores": '{"cat": 0.9, "dog": 0.1}',
            "bundle": "03_train/fastnet",
            "model_sha256": "0" * 64,
            "width": 640.0,
            "height": 480.0,
            "milliseconds": 10.0 + k,
            "source": "api",
            **{"code": None, "feedback": None, "feedback_time": None},
            **numbers,
            **changes,
        }
        for k in range(first, first + n)
    ]


REFUSED = {"predicted": None, "score": None, "scores": None, "width": None, "height": None, "code": "truncated"}


@pytest.fixture
def write():
    """Return a function that adds rows to the log at an address."""

    def add(url, entries):
        engine = open_log(url)
        with engine.begin() as connection:
            connection.execute(PREDICTIONS_TABLE.insert(), entries)
        engine.dispose()

    return add


def reference(n=360, seed=0):
    """Make a table with the columns of PREDICTIONS that drift is measured on."""
    rng = np.random.default_rng(seed)
    return pd.DataFrame(
        {
            "width": rng.choice([320.0, 640.0, 800.0], n),
            "height": 480.0,
            "brightness": rng.beta(4, 4, n),
            "contrast": rng.beta(2, 6, n),
            "sharpness": rng.exponential(0.05, n),
            "saturation": 0.0,
            "score": rng.beta(12, 1, n),
            "predicted": rng.choice(list("0123456789"), n),
            "bundle": "03_train/fastnet",
            "code": None,
            "source": "api",
        }
    )
