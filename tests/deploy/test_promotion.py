from __future__ import annotations

import json

import pytest

from fastrec import files
from fastrec.artefacts import PACKAGE, stage_record
from fastrec.deploy import export, package, promotion
from fastrec.deploy.predictor import Predictor
from fastrec.files import FastrecError
from fastrec.records import StageRecord


@pytest.fixture(autouse=True, scope="module")
def _export_once():
    """Export each bundle once: here it matters which package is served, not how it is made."""
    made, real = {}, export.export

    def export_once(bundle, folder):
        key = bundle.record.weights_sha256
        if key not in made:
            made[key] = real(bundle, folder).read_bytes()
        (folder / export.FILE).write_bytes(made[key])
        return folder / export.FILE

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(export, "export", export_once)
        yield


def served(run):
    return Predictor(run.path(PACKAGE)).label


def history(run):
    lines = run.path(promotion.LOG).read_text().splitlines()
    return [(entry["action"], entry["before"], entry["after"]) for entry in map(json.loads, lines)]


def test_promotion_and_rollback_serve_what_they_say_and_are_written_down(run):
    before = files.checksum(run.path(PACKAGE))
    said = promotion.promote(run, "04_tune/best")
    assert "tiny serves 04_tune/best now" in said
    assert served(run) == "04_tune/best"
    said = promotion.rollback(run)
    assert "serves 03_train/small again" in said
    assert files.checksum(run.path(PACKAGE)) == before
    small, best = "03_train/small", "04_tune/best"
    assert history(run) == [("promote", small, best), ("rollback", best, small)]


def test_rollback_goes_back_step_by_step_and_then_refuses(run):
    for bundle in ("04_tune/best", "03_train/small", "04_tune/best"):
        promotion.promote(run, bundle)
    found = []
    for _ in range(3):
        promotion.rollback(run)
        found.append(served(run))
    assert found == ["03_train/small", "04_tune/best", "03_train/small"]
    with pytest.raises(FastrecError, match="has no package before 03_train/small"):
        promotion.rollback(run)


def test_unknown_bundle_is_refused_and_nothing_changes(run):
    before = files.checksum(run.path(PACKAGE).parent)
    with pytest.raises(FastrecError, match="take one of 03_train/small, 04_tune/best"):
        promotion.promote(run, "05_none/x")
    assert files.checksum(run.path(PACKAGE).parent) == before


def test_promotion_that_fails_leaves_what_was_served(run, monkeypatch):
    monkeypatch.setattr(export, "NETWORK_TOLERANCE", -1.0)
    with pytest.raises(FastrecError, match="answers differently"):
        promotion.promote(run, "04_tune/best")
    assert served(run) == "03_train/small"
    with pytest.raises(FastrecError, match="no package before"):
        promotion.rollback(run)


def test_run_without_a_package_names_the_notebook(run):
    run.path(PACKAGE).rename(run.path(PACKAGE).with_name("elsewhere"))
    for change in (lambda: promotion.promote(run, "04_tune/best"), lambda: promotion.rollback(run)):
        with pytest.raises(FastrecError, match=r"06_deploy\.ipynb"):
            change()


def test_only_the_last_few_packages_are_kept(run, monkeypatch):
    monkeypatch.setattr(promotion, "KEPT", 1)
    for bundle in ("04_tune/best", "03_train/small", "04_tune/best"):
        promotion.promote(run, bundle)
    assert len(promotion._kept(run)) == 1


def test_deploys_record_knows_the_promoted_package(run):
    place = {"started": "now", "pid": 1, "host": "here"}
    outputs = {PACKAGE.file: files.checksum(run.path(PACKAGE)), "06_deploy/deployment.json": "0"}
    record = StageRecord(stage="deploy", run="tiny", state="done", outputs=outputs, **place)
    files.write_text(run.path(stage_record("deploy")), record.model_dump_json())
    promotion.promote(run, "04_tune/best")
    outputs = run.record("deploy").outputs
    assert outputs[PACKAGE.file] == files.checksum(run.path(PACKAGE))
    assert outputs["06_deploy/deployment.json"] == "0"


def test_promotion_lets_go_of_the_run(run):
    promotion.promote(run, "04_tune/best")
    run.lock()
    run.unlock()
    assert package.read_record(run.path(PACKAGE))["label"] == "04_tune/best"
