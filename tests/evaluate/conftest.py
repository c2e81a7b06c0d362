"""The toy run, made once, and a copy of it for each test that asks."""

import shutil

import pytest
import toy

from fastrec.run import Run


@pytest.fixture(scope="session")
def finished_home(tmp_path_factory):
    home = tmp_path_factory.mktemp("evaluate")
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
