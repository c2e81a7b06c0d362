from __future__ import annotations

import json
import re
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

import fastrec
from fastrec import files, provenance
from fastrec.artefacts import METRICS, PACKAGE
from fastrec.deploy import card, export, package
from fastrec.files import FastrecError

HEAVY = ("torch", "torchvision", "fastai", "timm", "pandas", "pyarrow", "sklearn", "joblib", "cloudpickle", "onnx")


def script(folder, *arguments, cwd, before=""):
    """Run the package's predict.py as a stranger would: isolated, from elsewhere, telling what it imported."""
    lines = [
        "import json, runpy, sys",
        f"sys.argv = {[str(folder / 'predict.py'), *map(str, arguments)]!r}",
        before,
        "try:",
        "    runpy.run_path(sys.argv[0], run_name='__main__')",
        "finally:",
        "    print(json.dumps({n: getattr(m, '__file__', None) for n, m in sys.modules.items()}), file=sys.stderr)",
    ]
    command = [sys.executable, "-I", "-c", "\n".join(lines)]
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=60, check=False)
    return done, json.loads(done.stderr.strip().splitlines()[-1])


def test_package_holds_all_that_the_contract_names(package_folder):
    names = {path.name for path in package_folder.iterdir()}
    wanted = {"model.onnx", "model.json", "predict.py", "web", "Dockerfile", "MODEL_CARD.md", "SHA256SUMS", "fastrec"}
    assert names == wanted | {"requirements.txt"}
    listed = {line.split("  ", 1)[1] for line in (package_folder / "SHA256SUMS").read_text().splitlines()}
    there = {p.relative_to(package_folder).as_posix() for p in package_folder.rglob("*") if p.is_file()}
    assert there == listed | {"SHA256SUMS"}


def test_record_names_bundle_graph_and_parity(package_folder):
    record = package.read_record(package_folder)
    assert record["label"] == "03_train/small"
    assert record["onnx_sha256"] == files.checksum(package_folder / "model.onnx")
    assert record["bundle"]["classes"]
    assert record["parity"]["pictures"] == 8
    assert record["parity"]["picture"] <= export.PICTURE_TOLERANCE


def test_code_is_copied_as_it_is_and_holds_nothing_of_training(package_folder):
    root = Path(fastrec.__file__).parent
    copied = {path.relative_to(package_folder / "fastrec") for path in (package_folder / "fastrec").rglob("*.py")}
    assert all((package_folder / "fastrec" / path).read_bytes() == (root / path).read_bytes() for path in copied)
    names = {path.as_posix() for path in copied}
    assert {"__init__.py", "images.py", "deploy/__init__.py", "deploy/server.py", "deploy/recorder.py"} <= names
    assert not {"artefacts.py", "run.py", "bundle.py", "deploy/export.py", "deploy/package.py"} & names


def test_change_of_the_service_makes_the_stage_stale():
    """The package copies modules by their files: the stage must reach them by imports all the same."""
    reached = {path.name for path in provenance.modules_behind(Path(package.__file__))}
    assert {"service.py", "server.py", "guard.py", "recorder.py"} <= reached


def test_predict_runs_alone_and_imports_nothing_heavy(package_folder, tmp_path, photo, encode):
    (tmp_path / "bee.png").write_bytes(encode(photo(40, 30)))
    done, modules = script(package_folder, "bee.png", "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    entry = json.loads(done.stdout)
    assert entry["path"] == "bee.png"
    assert entry["score"] == max(entry["scores"].values())
    assert not set(HEAVY) & set(modules)
    assert not {"pydantic", "sqlalchemy", "fastapi"} & set(modules)
    ours = {name: file for name, file in modules.items() if name.split(".")[0] == "fastrec"}
    assert ours
    assert all(file.startswith(str(package_folder)) for file in ours.values())


def test_package_stays_as_it_was_built(package_folder, tmp_path, photo, encode):
    (tmp_path / "bee.png").write_bytes(encode(photo(40, 30)))
    before = files.checksum(package_folder)
    script(package_folder, "bee.png", cwd=tmp_path)
    assert files.checksum(package_folder) == before


def test_command_answers_line_by_line_and_refuses_in_words(package_folder, tmp_path, photo, encode):
    good, bad = tmp_path / "a\nb.png", tmp_path / "c.png"
    good.write_bytes(encode(photo(40, 30)))
    bad.write_bytes(b"no picture")
    done, _ = script(package_folder, tmp_path, bad, tmp_path / "gone.png", cwd="/")
    assert done.returncode == 1
    lines = [line.split("\t") for line in done.stdout.splitlines()]
    assert [len(line) for line in lines] == [3] * 4
    assert lines[0][0].endswith("a\\nb.png")
    assert 0 < float(lines[0][2]) <= 1
    assert [line[1] for line in lines[1:]] == ["not_an_image", "not_an_image", "unreadable"]


def test_json_lines_tell_of_refusals_too(package_folder, tmp_path):
    (tmp_path / "c.png").write_bytes(b"")
    done, _ = script(package_folder, "c.png", "--json", cwd=tmp_path)
    entry = json.loads(done.stdout)
    assert (done.returncode, entry["path"], entry["code"]) == (1, "c.png", "empty_file")


@pytest.mark.parametrize("arguments", [[], ["--what"], ["x.png", "--serve"]])
def test_wrong_call_exits_with_2(package_folder, tmp_path, arguments):
    assert script(package_folder, *arguments, cwd=tmp_path)[0].returncode == 2


def test_empty_folder_is_one_sentence(package_folder, tmp_path):
    done, _ = script(package_folder, tmp_path, cwd=tmp_path)
    assert done.returncode == 1
    assert "holds no pictures" in done.stderr
    assert "Traceback" not in done.stderr


def test_texts_name_installed_versions_and_leave_no_place_open(package_folder):
    pins = dict(line.split("==") for line in (package_folder / "requirements.txt").read_text().splitlines())
    assert pins["onnxruntime"] == metadata.version("onnxruntime")
    assert not any(name.startswith(("torch", "fastai")) for name in pins)
    dockerfile = (package_folder / "Dockerfile").read_text()
    assert f"FROM python:{sys.version_info[0]}.{sys.version_info[1]}-slim" in dockerfile
    assert "USER fastrec" in dockerfile
    assert "HEALTHCHECK" in dockerfile
    assert not re.search(r"\$[a-z{]", dockerfile + (package_folder / "MODEL_CARD.md").read_text().replace("\\$", ""))


def test_card_without_metrics_says_so_and_escapes_labels(package_folder):
    text = (package_folder / "MODEL_CARD.md").read_text()
    assert "Not measured on the test split" in text
    assert "<img" not in text.replace("\\<img", "")
    assert "24 pictures from folder:data: 8 train, 8 valid, 8 test." in text


def test_card_gives_the_figures_of_its_own_bundle(run):
    figure = {"value": 0.5, "low": 0.4, "high": 0.6}
    names = ("accuracy", "balanced_accuracy", "macro_precision", "macro_recall", "macro_f1", "weighted_f1")
    each = {"precision": None, "recall": 0.25, "f1": None, "support": 2}
    content = dict.fromkeys((*names, "log_loss", "ece"), figure)
    content |= {"bundle": "03_train/small", "n": 8, "classes": ["a|b"], "per_class": {"a|b": each}}
    run.write(METRICS, METRICS.model(**content, baselines={}, candidates=[], confusion=[[2]]))
    bundle = package.open_bundle(run, "03_train/small")
    text = card.values(run, bundle, "0" * 64)["figures"]
    assert "| accuracy | 0.5000 | 0.4000 to 0.6000 |" in text
    assert "| a\\|b | not defined | 0.2500 | 2 |" in text
    other = card.values(run, package.open_bundle(run, "04_tune/best"), "0" * 64)["figures"]
    assert "Not measured on the test split" in other


def test_unknown_bundle_lists_those_present(run):
    with pytest.raises(FastrecError, match="take one of 03_train/small, 04_tune/best"):
        package.build(run, "03_train/none")


@pytest.mark.parametrize("label", ["", "03_train", "../03_train/small", "03_train/../03_train/small", "/etc/passwd"])
def test_odd_bundle_names_are_unknown(run, label):
    with pytest.raises(FastrecError, match="is not in run"):
        package.build(run, label)


def test_failed_build_keeps_the_package(run, monkeypatch):
    before = files.checksum(run.path(PACKAGE))
    monkeypatch.setattr(export, "PICTURE_TOLERANCE", -1.0)
    with pytest.raises(FastrecError, match="answers differently"):
        package.build(run, "04_tune/best")
    assert files.checksum(run.path(PACKAGE)) == before
    assert [p.name for p in run.path(PACKAGE).parent.iterdir()] == ["package"]


def test_contents_add_up(package_folder):
    table = package.contents(package_folder)
    assert table["kB"].sum() * 1e3 == pytest.approx(package.size_of(package_folder), rel=0.05)
    assert (table["kB"] > 0).all()
