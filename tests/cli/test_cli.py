import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from fastrec import cli
from fastrec.artefacts import PACKAGE, STAGES, stage_folder
from fastrec.deploy.predictor import Answer
from fastrec.images import ImageError, read_bytes
from fastrec.pipeline.settings import settle
from fastrec.run import Run

COMMAND = [sys.executable, "-m", "fastrec.cli"]


@pytest.fixture
def call(capsys):
    """Return a function that calls the command line: exit code, standard output, standard error."""

    def run(*arguments: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as caught:
            cli.main(list(arguments))
        out, err = capsys.readouterr()
        return caught.value.code or 0, out, err

    return run


def begin(stage="collect", name="digits"):
    settings = settle(name=name)
    run = settings.run
    run.start(stage, settings.values(stage))
    with run.writing(f"{stage_folder(stage)}/out.txt") as path:
        path.write_text("x")
    run.finish()
    return run


def test_help_needs_nothing_heavy():
    heavy = ("numpy", "pandas", "pyarrow", "pydantic", "torch", "fastai", "papermill", "nbconvert", "onnxruntime")
    look = f"import sys, fastrec.cli; print([name for name in {heavy} if name in sys.modules])"
    assert subprocess.run([sys.executable, "-c", look], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_help_lists_every_command(call):
    code, out, _ = call("--help")
    assert code == 0
    commands = "run stages models status report compare predict serve promote rollback doctor"
    for command in commands.split(" "):
        assert f"\n  {command} " in out


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["run", "--set", "train.rat=1"], "parameter train.rat is unknown; did you mean 'rate'?"),
        (["run", "--set", "train.seed=x"], "train.seed is 'x', which is not int"),
        (["run", "nowhere"], "configuration 'nowhere' is not there"),
        (["run", "--run", "../x"], "not usable"),
        (["run", "--from", "trian"], "stage 'trian' is unknown"),
        (["run", "--from", "tune", "--to", "train"], "comes after"),
        (["status", "never"], "run 'never' is not there"),
        (["report", "never"], "run 'never' is not there"),
        (["compare", "one"], "two different runs"),
        (["compare", "one", "two"], "run 'one' is not there"),
        (["predict", "never", "x.png"], "run 'never' is not there"),
        (["serve", "never"], "run 'never' is not there"),
        (["promote", "never", "03_train/x"], "run 'never' is not there"),
        (["rollback", "never"], "run 'never' is not there"),
    ],
)
def test_a_wrong_call_is_one_sentence_and_exit_code_2(arguments, told, call, tiny_home):
    code, out, err = call(*arguments)
    assert (code, out) == (2, "")
    assert told in err
    assert err.startswith("fastrec: ")
    assert err.count("\n") == 1
    assert not list(tiny_home.glob("runs/*"))


@pytest.mark.parametrize("arguments", [["fly"], ["run", "--fast"], ["status"], ["serve", "x", "--port", "many"]])
def test_a_call_that_does_not_parse_is_exit_code_2(arguments, call):
    code, _, err = call(*arguments)
    assert code == 2
    assert "Traceback" not in err


def test_a_run_prints_the_reports_path_last(call, tiny_home):
    code, out, err = call("run", "--to", "collect", "--run", "x", "--set", "collect.rate=1e-2")
    assert code == 0
    assert out.splitlines() == [str(tiny_home / "reports" / "x" / "index.html")]
    assert Path(out.strip()).is_file()
    assert "1/7 collect: done" in err
    assert Run("x").record("collect").parameters["rate"] == 0.01
    index = tiny_home / "reports" / "x" / "index.html"
    rendered = index.stat().st_mtime_ns
    assert call("run", "--to", "collect", "--run", "x")[2] == "1/7 collect: unchanged\n"
    assert index.stat().st_mtime_ns == rendered


def test_a_failing_stage_is_one_sentence_and_exit_code_1(call, write_stage, tiny_home):
    write_stage("collect", ['from fastrec.run import Run\nrun = Run(run_name).start("collect", globals())\n1 / 0'])
    code, out, err = call("run")
    assert (code, out) == (1, "")
    assert err.splitlines()[-1].startswith("fastrec: collect failed in cell 3 (ZeroDivisionError")
    assert "Traceback" not in err
    index = (tiny_home / "reports" / "digits" / "index.html").read_text(encoding="utf-8")
    assert "collect failed in cell 3 (ZeroDivisionError" in index


def test_a_report_that_fails_does_not_hide_why_the_stage_did(call, write_stage, monkeypatch):
    def broken(run):
        raise OSError("no space left")

    monkeypatch.setattr("fastrec.report.pages.render_run", broken)
    write_stage("collect", ["1 / 0"])
    code, _, err = call("run")
    assert code == 1
    assert "collect failed in cell 3 (ZeroDivisionError" in err.splitlines()[-1]


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_ends_the_kernel_and_says_how_to_continue(number, code, write_stage, tiny_home, call):
    waits = "import os, time; open('pid', 'w').write(str(os.getpid())); time.sleep(60)"
    start = 'from fastrec.run import Run\nrun = Run(run_name).start("preprocess", globals())'
    write_stage("preprocess", [start, waits, "run.finish()"])
    begin("collect")
    with subprocess.Popen([*COMMAND, "run"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        while not (tiny_home / "pid").exists() or not (tiny_home / "pid").read_text():
            assert process.poll() is None, process.stderr.read()
            time.sleep(0.05)
        process.send_signal(number)
        _, err = process.communicate(timeout=60)
    assert process.returncode == code
    assert "run the same command again to continue" in err
    assert "Traceback" not in err
    with pytest.raises(ProcessLookupError):
        os.kill(int((tiny_home / "pid").read_text()), 0)
    assert [line.split()[:2] for line in call("status", "digits")[1].splitlines()[1:3]] == [
        ["collect", "done"],
        ["preprocess", "interrupted"],
    ]


def test_stages_lists_every_parameter_with_default_and_help(call, tiny_home):
    code, out, _ = call("stages")
    assert code == 0
    assert len(out.splitlines()) == 1 + 3 * len(STAGES)
    line = next(line for line in out.splitlines() if line.startswith("train.rate"))
    assert line.split("  ")[0] == "train.rate"
    assert "float | None" in line
    assert "0.001" in line
    assert line.endswith("step size: a = b is no second parameter")
    assert "run_name" not in out


def test_status_says_why_and_what_next(call, tiny_home):
    begin("collect")
    (tiny_home / "runs/digits/01_collect/out.txt").write_text("changed")
    code, out, _ = call("status", "digits")
    assert code == 0
    lines = out.splitlines()
    assert lines[1].split()[:2] == ["collect", "stale"]
    assert lines[1].endswith("01_collect/out.txt changed")
    assert lines[2].split() == ["preprocess", "never", "ran"]
    assert lines[-1].startswith("next: `fastrec run --run digits` would run collect, preprocess, train,")


def test_status_of_a_finished_run_says_so(call, tiny_home):
    for stage in STAGES:
        begin(stage)
    assert call("status", "digits")[1].splitlines()[-1] == "next: nothing to do, every stage is up to date"


def test_compare_and_report_print_their_pages(call, tiny_home):
    begin(name="one")
    begin(name="two")
    assert call("report", "one")[1] == f"{tiny_home / 'reports/one/index.html'}\n"
    assert call("compare", "one", "two")[1] == f"{tiny_home / 'reports/compare/one-vs-two.html'}\n"


def test_an_unexpected_fault_is_a_sentence_and_with_debug_a_traceback(call, tiny_home, monkeypatch):
    begin()
    monkeypatch.setattr("fastrec.report.pages.render_run", lambda run: {}["lost"])
    code, _, err = call("report", "digits")
    assert code == 1
    assert err == "fastrec: unexpected KeyError ('lost'): run again with `fastrec --debug` to see where.\n"
    with pytest.raises(KeyError):
        cli.main(["--debug", "report", "digits"])


# ------------------------------------------------------------------ a run's package


class Stub:
    """Answers cat for every file that holds anything."""

    multi_label = False

    def __init__(self, folder: Path) -> None:
        assert folder.name == "package"

    def predict(self, data: bytes) -> Answer:
        if not data:
            raise ImageError("empty_file", "is empty (0 bytes)")
        return Answer("cat", ("cat",), 0.75, {"cat": 0.75, "dog": 0.25}, {}, (), 1.0, "0", "03_train/x")


@pytest.fixture
def packaged(tiny_home, monkeypatch):
    run = begin()
    run.path(PACKAGE).mkdir(parents=True)
    monkeypatch.setattr("fastrec.deploy.predictor.Predictor", Stub)
    return run


@pytest.fixture
def pictures(tmp_path):
    folder = tmp_path / "pictures"
    (folder / "b").mkdir(parents=True)
    (folder / "b" / "two.png").write_bytes(b"x")
    (folder / "a\none.png").write_bytes(b"x")
    return folder


def test_predict_prints_a_line_per_picture(call, packaged, pictures):
    code, out, _ = call("predict", "digits", str(pictures))
    assert code == 0
    assert [line.split("\t")[1:] for line in out.splitlines()] == [["cat", "0.7500"]] * 2


def test_a_refused_picture_is_a_line_too(call, packaged, pictures):
    (pictures / "none.png").write_bytes(b"")
    with pytest.raises(ImageError):
        read_bytes(pictures / "missing.png")
    code, out, _ = call("predict", "digits", str(pictures), str(pictures / "missing.png"), "--json")
    assert code == 1
    lines = [json.loads(line) for line in out.splitlines()]
    assert [line.get("label", line.get("code")) for line in lines][:3] == ["cat", "cat", "empty_file"]
    assert len(lines) == 4
    assert all("message" in line for line in lines[2:])


def test_a_folder_without_pictures_is_said_to_have_none(call, packaged, tmp_path):
    (tmp_path / "empty").mkdir()
    code, _, err = call("predict", "digits", str(tmp_path / "empty"))
    assert code == 1
    assert "holds no pictures" in err


def test_predicting_before_deploying_names_the_cure(call, tiny_home):
    begin()
    code, _, err = call("predict", "digits", "x.png")
    assert code == 1
    assert "run notebooks/06_deploy.ipynb first" in err


def test_serve_hands_over_package_address_and_log(call, packaged, monkeypatch):
    given = []
    monkeypatch.setattr("fastrec.deploy.service.serve", lambda *arguments: given.extend(arguments))
    assert call("serve", "digits", "--port", "0")[0] == 0
    assert given[:3] == [packaged.path(PACKAGE), "127.0.0.1", 0]
    assert given[3].startswith("sqlite:///")
    assert given[3].endswith("runs/digits/07_monitor/predictions.db")


def test_a_service_that_drained_at_sigterm_ended_well(call, packaged, monkeypatch):
    before = signal.getsignal(signal.SIGTERM)
    monkeypatch.setattr("fastrec.deploy.service.serve", lambda *_: signal.raise_signal(signal.SIGTERM))  # as uvicorn
    assert call("serve", "digits") == (0, "", "")
    assert signal.getsignal(signal.SIGTERM) is before


def test_promote_and_rollback_say_what_is_served(call, tiny_home, monkeypatch):
    begin()
    monkeypatch.setattr("fastrec.deploy.promotion.promote", lambda run, bundle: f"{run.name} serves {bundle} now.")
    monkeypatch.setattr("fastrec.deploy.promotion.rollback", lambda run: f"{run.name} serves the one before.")
    assert call("promote", "digits", "04_tune/best")[1] == "digits serves 04_tune/best now.\n"
    assert call("rollback", "digits")[1] == "digits serves the one before.\n"


def test_models_compares_a_short_list_at_a_size(call, monkeypatch):
    from fastrec.train import choosing

    monkeypatch.setattr(choosing, "SHORT", {"small": ("fastnet", {"width": 4}), "inception_v3": ("inception_v3", {})})
    code, out, _ = call("models", "--size", "40")
    header, small, large = out.splitlines()
    assert code == 0
    assert header.split()[:3] == ["architecture", "parameters", "MB"]
    assert small.startswith("small")
    assert "cannot take pictures of 40 pixels" in large


def test_models_lists_the_names_that_fit_a_pattern(call):
    assert call("models", "fastn*")[:2] == (0, "fastnet\n")
    code, _, told = call("models", "resnt18")
    assert code == 1
    assert "did you mean resnet18" in told
