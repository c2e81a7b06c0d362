import importlib.metadata
import json
import subprocess
from types import SimpleNamespace

import pytest

from fastrec import cli, doctor

PROBE = json.dumps({"devices": [], "mps": False, "threads": 2})


@pytest.fixture
def probe(monkeypatch):
    """Answer for the process that imports torch; a test may change the answer."""
    answer = SimpleNamespace(returncode=0, stdout=f"{PROBE}\n", stderr="")
    monkeypatch.setattr(doctor.subprocess, "run", lambda *arguments, **options: answer)
    return answer


@pytest.fixture
def versions(monkeypatch):
    """Change what is installed: a name's version, or None for absent."""
    changed: dict[str, str | None] = {}
    real = importlib.metadata.version

    def version(name):
        if name in changed and changed[name] is None:
            raise importlib.metadata.PackageNotFoundError(name)
        return changed.get(name) or real(name)

    monkeypatch.setattr(doctor.importlib.metadata, "version", version)
    return changed


def findings(name):
    return [finding for finding in doctor.examine() if finding.name == name]


def test_a_sound_machine_is_exit_code_0(tiny_home, probe, capsys):
    with pytest.raises(SystemExit) as caught:
        cli.main(["doctor"])
    assert not caught.value.code
    out = capsys.readouterr().out
    assert "missing" not in out
    assert "CPU only, 2 threads" in out
    assert "7 found" in out


def test_every_library_is_looked_at_once(tiny_home, probe):
    names = [finding.name for finding in doctor.examine()]
    assert len(names) == len(set(names))
    assert {"torch", "fastai", "papermill", "fastapi"} <= set(names)


def test_an_absent_library_names_its_command_and_fails(tiny_home, probe, versions, capsys):
    versions["timm"] = None
    (found,) = findings("timm")
    assert (found.state, found.found) == ("missing", "absent")
    assert found.cure.startswith("pip install -c constraints.txt 'timm")
    with pytest.raises(SystemExit) as caught:
        cli.main(["doctor"])
    assert caught.value.code == 1


def test_what_only_serving_needs_is_a_note(tiny_home, probe, versions):
    versions["fastapi"] = None
    assert findings("fastapi")[0].state == "note"


def test_too_old_is_missing_and_untested_is_a_note(tiny_home, probe, versions):
    versions["pillow"] = "1.0"
    versions["pandas"] = "99.0"
    assert findings("pillow")[0].state == "missing"
    assert findings("pandas")[0].state == "note"


def test_a_torchvision_for_another_torch_is_explained(tiny_home, probe, versions):
    versions["torch"] = "1.13.0"
    (found,) = findings("torch and torchvision")
    assert found.state == "missing"
    assert "torch 1.13.0 with torchvision" in found.found
    assert "which is built for torch" in found.found
    assert "torch torchvision" in found.cure


def test_a_pair_that_does_not_import_is_explained(tiny_home, probe):
    probe.returncode, probe.stderr = 1, "Traceback\nRuntimeError: operator torchvision::nms does not exist\n"
    (found,) = findings("torch and torchvision")
    assert found.state == "missing"
    assert "operator torchvision::nms does not exist" in found.found
    assert "CUDA" in found.found


def test_a_pair_that_hangs_is_told(tiny_home, monkeypatch):
    def hang(*arguments, **options):
        raise subprocess.TimeoutExpired("python", 300)

    monkeypatch.setattr(doctor.subprocess, "run", hang)
    assert "do not import within" in findings("torch and torchvision")[0].found


def test_gpus_are_named(tiny_home, probe):
    probe.stdout = json.dumps({"devices": ["A GPU"], "mps": False, "threads": 2})
    assert findings("devices")[0].found == "A GPU"


def test_a_full_disk_and_little_memory_are_missing(tiny_home, probe, monkeypatch):
    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda place: SimpleNamespace(free=10**6))
    monkeypatch.setattr("psutil.virtual_memory", lambda: SimpleNamespace(available=10**6))
    assert findings("home")[0].state == "missing"
    assert findings("memory")[0].state == "missing"


def test_a_missing_notebook_is_named(tiny_home, probe, monkeypatch):
    monkeypatch.setattr(doctor, "notebook", lambda stage: tiny_home / "notebooks" / f"absent_{stage}.ipynb")
    (found,) = findings("notebooks")
    assert found.state == "missing"
    assert "absent_collect.ipynb" in found.found
