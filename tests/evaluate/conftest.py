"""The toy run, made once, and a copy of it for each test that asks."""

import shutil

import pytest
import toy

from fastrec import files
from fastrec.artefacts import stage_folder, stage_record
from fastrec.records import StageRecord
from fastrec.run import Run


def record(run, stage, *names, state="done", started="then"):
    """Write a stage's record, as if it had just made the bundles of these names and nothing else."""
    labels = [f"{stage_folder(stage)}/{name}" for name in names]
    outputs = {label: files.checksum(run.folder / label) for label in labels}
    made = StageRecord(stage=stage, run=run.name, state=state, outputs=outputs, started=started, pid=1, host="here")
    files.write_text(run.path(stage_record(stage)), made.model_dump_json())


@pytest.fixture(scope="session")
def finished_home(tmp_path_factory):
    home = tmp_path_factory.mktemp("evaluate")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FASTREC_HOME", str(home))
        run = toy.build()
        record(run, "train", "fastnet")
        record(run, "tune", "best")
    return home


@pytest.fixture
def run(finished_home, tmp_path, monkeypatch):
    """Return the toy run in a home of its own."""
    shutil.copytree(finished_home, tmp_path, dirs_exist_ok=True)
    monkeypatch.setenv("FASTREC_HOME", str(tmp_path))
    return Run("toy")
