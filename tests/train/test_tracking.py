"""Tracking in MLflow: what is logged, what a kill and a failing store do to it, and that none costs nothing."""

import importlib.util
import socket
import sys
from contextlib import suppress

import pytest
from train.test_resume import KillAt, Killed

from fastrec.files import FastrecError
from fastrec.train import learner, tracking, training
from fastrec.train.checkpoints import Checkpoints
from fastrec.train.recipe import Recipe

QUICK = Recipe(options={"width": 4}, batch_size=8, epochs=3)
needs_mlflow = pytest.mark.skipif(
    importlib.util.find_spec("mlflow") is None, reason="mlflow is not installed: pip install 'fastrec[track]'"
)


def trained(run, callback, keep=None, kill=None):
    learn = training.prepare(run, QUICK)
    if kill:
        learn.add_cb(kill)
    if keep:
        learn.keep(Checkpoints(keep, {}), 3)
    with learn.no_bar(), learn.no_logging():
        learn.fit_one_cycle(QUICK.epochs, 0.01, cbs=[callback])
    return learn


def runs(store, name):
    from mlflow.tracking import MlflowClient

    with tracking._quiet():
        client = MlflowClient(store)
        return client, client.search_runs([client.get_experiment_by_name(name).experiment_id])


@pytest.fixture
def store(home):
    return f"sqlite:///{home / 'runs' / 'mlflow.db'}"


@needs_mlflow
def test_parameters_figures_verdict_and_bundle_are_logged(run, store, monkeypatch):
    monkeypatch.setattr(socket.socket, "connect", lambda *_: pytest.fail("it called somebody"))
    follower = tracking.tracker("mlflow", run, QUICK)
    learn = trained(run, follower)
    record = learner.save(run, learn, "fastnet", "train")
    follower.finish(record)
    client, (found,) = runs(store, "t")
    assert found.info.status == "FINISHED"
    assert found.data.params["learning_rate"] == "0.01"
    assert found.data.params["options.width"] == "4"
    assert found.data.tags["bundle"] == "03_train/fastnet"
    assert "accuracy" in found.data.tags["verdict"]
    assert found.data.metrics["bundle_accuracy"] == pytest.approx(record.valid["accuracy"])
    table = learn.history.table()
    for name in table.columns.drop("epoch"):
        values = [metric.value for metric in client.get_metric_history(found.info.run_id, name)]
        assert values == pytest.approx(table[name].tolist())
    assert not follower.failed


@needs_mlflow
@pytest.mark.parametrize("event", ["after_step", "before_validate", "after_epoch"])
def test_a_training_that_was_killed_goes_on_in_the_same_run(run, store, tmp_path, event):
    place = tmp_path / "checkpoints"
    with suppress(Killed):
        trained(run, tracking.Tracking(store, "t", QUICK), place, KillAt(event, 1))
    follower = tracking.Tracking(store, "t", QUICK)
    learn = trained(run, follower, place)
    client, found = runs(store, "t")
    assert len(found) == 1
    steps = [metric.step for metric in client.get_metric_history(found[0].info.run_id, "valid_loss")]
    assert steps == [0, 1, 2]
    follower.finish(learner.save(run, learn, "fastnet", "train"))
    trained(run, tracking.Tracking(store, "t", QUICK), place)
    assert len(runs(store, "t")[1]) == 2  # what is finished stays as it is


@needs_mlflow
def test_a_failing_store_costs_one_sentence(run, home, capsys):
    (home / "file").write_text("")
    follower = tracking.Tracking(f"sqlite:///{home / 'file' / 'x.db'}", "t", QUICK)
    learn = trained(run, follower)
    follower.finish(learner.save(run, learn, "fastnet", "train"))
    said = capsys.readouterr()
    assert said.out.count("MLflow keeps no more of this training (") == 1
    assert said.err == ""
    assert len(learn.history.rows) == QUICK.epochs


@needs_mlflow
def test_the_training_is_the_same_with_and_without(run, store):
    tracked, plain = (
        trained(run, callback).model.state_dict()
        for callback in (tracking.Tracking(store, "t", QUICK), tracking.tracker("none", run, QUICK))
    )
    assert all((tracked[name] == plain[name]).all() for name in plain)


def test_without_the_package_it_says_what_to_install(run, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(FastrecError, match=r"pip install 'fastrec\[track\]'"):
        tracking.tracker("mlflow", run, QUICK)


def test_another_name_is_refused(run):
    with pytest.raises(FastrecError, match="write none or mlflow"):
        tracking.tracker("wandb", run, QUICK)


def test_none_needs_no_package_and_keeps_nothing(run, home, monkeypatch):
    monkeypatch.setitem(sys.modules, "mlflow", None)  # an import of it fails
    follower = tracking.tracker("none", run, QUICK)
    learn = trained(run, follower)
    follower.finish(learner.save(run, learn, "fastnet", "train"))
    assert not list(home.rglob("mlflow*"))
