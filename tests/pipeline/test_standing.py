import os

import pytest

from fastrec import provenance
from fastrec.artefacts import DECISIONS, STAGES, stage_folder, stage_record
from fastrec.files import FastrecError, write_text
from fastrec.pipeline import standing
from fastrec.pipeline.flow import plan, select
from fastrec.pipeline.parameters import CallError
from fastrec.pipeline.settings import settle


def take(stage, **given):
    """Do in this process what the stage's tiny notebook would do."""
    settings = settle()
    run = settings.run
    run.start(stage, {**settings.values(stage), **given})
    if (number := STAGES.index(stage)) > 0:
        run.note_input(run.folder / stage_folder(STAGES[number - 1]) / "out.txt")
    with run.writing(f"{stage_folder(stage)}/out.txt") as path:
        path.write_text(stage)
    run.finish()


@pytest.fixture
def finished(tiny_home):
    for stage in STAGES[:3]:
        take(stage)
    return settle()


def states(settings):
    return {each.stage: each.state for each in standing.standings(settings)}


def reasons(settings, stage="preprocess"):
    return next(each.reasons for each in standing.standings(settings) if each.stage == stage)


def test_a_finished_stage_is_done_and_an_untouched_one_never_ran(finished):
    assert list(states(finished).values()) == ["done"] * 3 + ["never ran"] * 4
    assert reasons(finished) == ()


def test_another_parameter_makes_stale(finished):
    changed = settle(assignments=["preprocess.rate=0.5"])
    assert reasons(changed) == ("parameter rate changed (0.001 -> 0.5)",)
    assert states(changed)["train"] == "done"


def test_an_int_for_a_float_is_no_change(tiny_home):
    take("collect", rate=1.0)
    assert reasons(settle(assignments=["collect.rate=1"]), "collect") == ()


def test_parameters_that_came_or_went_make_stale(finished, write_stage):
    write_stage("preprocess", parameters='run_name: str = "digits"\nside: int = 3')
    assert set(reasons(settle())) == {
        "parameter seed is gone",
        "parameter rate is gone",
        "parameter names is gone",
        "parameter side is new",
    }


def test_other_code_makes_stale_but_a_comment_does_not(finished, write_stage):
    cells = ["from fastrec.run import Run  # a comment", *"ab"]
    write_stage("preprocess", cells)
    assert reasons(finished) == ("code changed",)


def test_another_library_makes_stale(finished, monkeypatch):
    now = {**provenance.versions(), "torch": "99.0"}
    monkeypatch.setattr(provenance, "versions", lambda: now)
    before = finished.run.record("preprocess").versions["torch"]
    assert reasons(finished) == (f"torch {before} -> 99.0",)


def test_files_that_changed_or_went_make_stale(finished):
    folder = finished.run.folder
    (folder / "01_collect" / "out.txt").write_text("other")
    assert reasons(finished) == ("01_collect/out.txt changed",)
    assert reasons(finished, "collect") == ("01_collect/out.txt changed",)
    (folder / "02_preprocess" / "out.txt").unlink()
    assert "02_preprocess/out.txt is gone" in reasons(finished)


def test_a_database_may_change_but_not_vanish(tiny_home):
    run = settle().run
    run.start("collect", settle().values("collect"))
    database = run.folder / "01_collect" / "log.db"
    database.write_text("a")
    run.note_output(database)
    run.finish()
    database.write_text("served from")
    assert reasons(settle(), "collect") == ()
    database.unlink()
    assert reasons(settle(), "collect") == ("01_collect/log.db is gone",)


def test_decisions_made_by_hand_make_stale(tiny_home):
    run = settle().run
    run.start("collect", settle().values("collect"))
    (run.folder / DECISIONS.file).write_text("none")
    run.note_input(run.folder / DECISIONS.file)
    run.finish()
    assert reasons(settle(), "collect") == ()
    (run.folder / DECISIONS.file).write_text("some")
    assert reasons(settle(), "collect") == (f"{DECISIONS.file} changed",)


def test_what_lies_outside_is_asked_again(tiny_home, monkeypatch):
    fingerprints = {"folder:pictures": "a", "log:sqlite:///x.db": "b"}
    monkeypatch.setattr(standing, "outside_fingerprint", fingerprints.__getitem__)
    run = settle().run
    run.start("collect", settle().values("collect"))
    for address, fingerprint in fingerprints.items():
        run.note_outside(address, fingerprint)
    run.finish()
    assert reasons(settle(), "collect") == ()
    fingerprints["folder:pictures"] = "c"
    assert reasons(settle(), "collect") == ("folder:pictures changed",)


def test_a_source_that_went_is_a_reason_not_a_crash(tiny_home):
    run = settle().run
    run.start("collect", settle().values("collect"))
    run.note_outside("folder:nowhere", "a")
    run.finish()
    (reason,) = reasons(settle(), "collect")
    assert reason.startswith("folder:nowhere is not readable any more")


@pytest.mark.parametrize(
    ("pid", "state"), [(2**22 + 1, "interrupted"), (os.getpid(), "running")], ids=["gone", "alive"]
)  # the first is above every system's largest process id
def test_an_open_record_is_running_while_its_process_lives(pid, state, finished):
    record = finished.run.record("train").model_copy(update={"state": "running", "pid": pid})
    write_text(finished.run.path(stage_record("train")), record.model_dump_json())
    assert states(finished)["train"] == state
    assert reasons(finished, "train") == (state,)


def test_a_later_process_with_the_same_number_is_another(finished):
    open_record = {"state": "running", "pid": os.getpid(), "started": "2001-01-01T00:00:00+0000"}
    record = finished.run.record("train").model_copy(update=open_record)
    write_text(finished.run.path(stage_record("train")), record.model_dump_json())
    assert states(finished)["train"] == "interrupted"


def test_a_failure_says_why(finished):
    record = finished.run.record("train").model_copy(update={"state": "failed", "error": "no space"})
    write_text(finished.run.path(stage_record("train")), record.model_dump_json())
    assert states(finished)["train"] == "failed"
    assert reasons(finished, "train") == ("failed (no space)",)


def test_a_damaged_record_counts_as_never_ran(finished):
    finished.run.path(stage_record("train")).write_text('{"stage": "train", "sta')
    assert states(finished)["train"] == "never ran"


def test_once_one_stage_runs_all_after_it_do(finished):
    steps = plan(settle(assignments=["preprocess.rate=0.5"]), select(None, "train"))
    assert [bool(step.reasons) for step in steps] == [False, True, True]
    assert steps[2].reasons == ("preprocess runs again",)


def test_forced_stages_run_and_others_are_not_looked_at(finished):
    steps = plan(finished, select("preprocess", "train"), force=True)
    assert [step.stage for step in steps] == ["preprocess", "train"]
    assert all(step.reasons == ("forced",) for step in steps)


@pytest.mark.parametrize(("first", "last"), [("trian", None), (None, "03_train"), ("tune", "train")])
def test_a_wrong_selection_is_a_wrong_call(first, last):
    with pytest.raises(CallError):
        select(first, last)


def test_a_notebook_that_does_not_parse_is_named(finished, write_stage):
    write_stage("preprocess", ["this is no python"])
    with pytest.raises(FastrecError, match="02_preprocess"):
        standing.standings(finished)
