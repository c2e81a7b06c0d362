"""Real kernels on tiny notebooks: what a run leaves behind when all goes well, and when it does not."""

import json
import subprocess
import sys

import nbformat
import pytest

from fastrec import files
from fastrec.artefacts import STAGES
from fastrec.files import FastrecError
from fastrec.pipeline.flow import run_stages, select
from fastrec.pipeline.settings import settle

START = 'from fastrec.run import Run\nrun = Run(run_name).start("collect", globals())'


@pytest.fixture(autouse=True)
def no_report(monkeypatch, tmp_path):
    monkeypatch.setattr("fastrec.pipeline.flow._report", lambda run, renewed: tmp_path / "index.html")


def run_collect(**options):
    return run_stages(settle(**options), select("collect", "collect"))


def executed(run="digits"):
    return nbformat.read(settle(name=run).run.folder / "01_collect" / "01_collect.ipynb", 4)


def statuses(content):
    return [cell.metadata.papermill.status for cell in content.cells if "papermill" in cell.metadata]


def test_stages_run_in_order_and_unchanged_ones_do_not_run_again(tiny_home, capsys):
    settings = settle(name="x", assignments=["preprocess.rate=2"])
    run_stages(settings, select(None, "preprocess"))
    record = settings.run.record("preprocess")
    assert (record.state, record.parameters["rate"], record.parameters["run_name"]) == ("done", 2.0, "x")
    assert list(record.inputs) == ["01_collect/out.txt"]
    before = capsys.readouterr().err
    assert before.count("\n") == 4
    assert "2/7 preprocess: started (never ran)" in before

    run_stages(settle(name="x"), select(None, "preprocess"))
    assert capsys.readouterr().err.splitlines() == ["1/7 collect: unchanged", "2/7 preprocess: unchanged"]
    assert settings.run.record("preprocess") == record


def test_the_executed_notebook_holds_outputs_and_no_machine_path(tiny_home):
    run_collect()
    content = executed()
    assert "collect is done" in content.cells[-1].outputs[0].data["text/plain"]
    assert content.metadata.papermill.output_path == "home:runs/digits/01_collect/01_collect.ipynb"
    assert str(tiny_home) not in json.dumps(content)


def test_kernels_start_at_home_with_this_interpreter_under_the_pipelines_lock(tiny_home, write_stage):
    look = "import os, sys\nprint(os.getcwd(), sys.executable, os.environ['FASTREC_LOCKED_RUN'], sep='\\n')"
    write_stage("collect", [START, look, "run.finish()"])
    run_collect()
    printed = executed().cells[-2].outputs[0].text.splitlines()
    assert printed == [str(tiny_home), sys.executable, str(tiny_home / "runs" / "digits")]


@pytest.mark.parametrize(
    ("cell", "told"),
    [
        ("1 / 0", r"^collect failed in cell 4 \(ZeroDivisionError: division by zero\): see runs/digits/01_collect/"),
        (
            "from fastrec.files import FastrecError\nraise FastrecError('no images under x: put some there.')",
            r"^collect failed in cell 4: no images under x: put some there\.$",
        ),
    ],
)
def test_a_failing_cell_is_told_in_one_sentence_and_leaves_its_notebook(cell, told, write_stage):
    write_stage("collect", [START, cell, "run.finish()"])
    with pytest.raises(FastrecError, match=told) as caught:
        run_collect()
    assert "\n" not in str(caught.value)
    record = settle().run.record("collect")
    assert (record.state, record.error) == ("failed", str(caught.value))
    content = executed()
    assert statuses(content)[-2:] == ["failed", "pending"]
    assert content.metadata.papermill.exception is True


def test_a_killed_kernel_is_told_and_nothing_claims_to_have_completed(write_stage):
    write_stage("collect", [START, "import os, signal\nos.kill(os.getpid(), signal.SIGKILL)", "run.finish()"])
    with pytest.raises(FastrecError, match=r"the kernel of stage collect died in cell 4 .*run the same command again"):
        run_collect()
    assert settle().run.record("collect").state == "failed"
    assert statuses(executed())[-2:] == ["failed", "pending"]
    write_stage("collect")
    run_collect()
    assert settle().run.record("collect").state == "done"


def test_a_notebook_that_never_finishes_its_stage_has_failed(write_stage):
    run_collect()
    write_stage("collect", [START])
    with pytest.raises(FastrecError, match=r"ran through without run\.finish"):
        run_collect()
    assert settle().run.record("collect").state == "failed"
    write_stage("collect", ["1 + 1"])
    with pytest.raises(FastrecError, match=r"ran through without run\.finish"):
        run_collect()


def test_a_failure_before_the_start_keeps_the_older_result(write_stage):
    run_collect()
    record = settle().run.record("collect")
    write_stage("collect", ["import no_such_module", START, "run.finish()"])
    with pytest.raises(FastrecError, match="ModuleNotFoundError"):
        run_collect()
    assert settle().run.record("collect") == record


def test_a_second_writer_is_refused_by_name(tiny_home):
    folder = settle().run.folder
    lock = f"from pathlib import Path; from fastrec import files; files.lock(Path({str(folder)!r}, '.pipeline.lock'))"
    hold = f"import time; {lock}; print('up', flush=True); time.sleep(60)"
    with subprocess.Popen([sys.executable, "-c", hold], stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout.readline() == "up\n"
        with pytest.raises(FastrecError, match=f"in use by process {holder.pid} on "):
            run_collect()
        holder.kill()
    assert not (folder / "settings.json").exists()


def test_the_lock_is_free_again_after_a_failure(write_stage):
    write_stage("collect", ["1 / 0"])
    with pytest.raises(FastrecError, match="ZeroDivisionError"):
        run_collect()
    lock = settle().run.folder / ".pipeline.lock"
    assert lock.resolve() not in files._held


def test_all_seven_stages(tiny_home):
    run_stages(settle(), select())
    assert [settle().run.record(stage).state for stage in STAGES] == ["done"] * 7
