"""The search: counts what ended, goes on after a kill, and says why trials fail."""

import optuna
import pytest

from fastrec.artefacts import STUDY, TRIALS
from fastrec.files import FastrecError
from fastrec.train import training
from fastrec.train.recipe import Recipe
from fastrec.tune import search

BASE = Recipe(epochs=1)


@pytest.fixture
def quick(monkeypatch):
    """Replace the training by a formula, so that a test of the search takes no training."""
    calls = []

    def fit(run, tried):
        calls.append(tried)
        return tried

    monkeypatch.setattr(training, "fit", fit)
    monkeypatch.setattr("fastrec.train.learner.validate", lambda r: {"accuracy": 1 - r.learning_rate, "loss": 0.5})
    return calls


def test_the_winner_is_the_best_of_all_ended_trials(run, quick):
    study = search.search(run, BASE, 5)
    table = search.table(study, 5)
    run.write(TRIALS, table)
    assert len(quick) == len(run.read(TRIALS)) == 5
    assert search.winner(study, BASE, 5).learning_rate == min(tried.learning_rate for tried in quick)


def test_a_search_goes_on_where_it_stopped_and_draws_the_same(run, quick, home):
    unbroken = search.search(run, BASE, 5)
    expected = [trial.params for trial in unbroken.trials]
    (run.path(STUDY)).unlink()
    search.search(run, BASE, 2)
    study = search.open_study(run, BASE, 0)
    study.ask()  # a trial that a kill leaves running
    continued = search.search(run, BASE, 5)
    done = [t.params for t in continued.get_trials(states=[optuna.trial.TrialState.COMPLETE])]
    assert done == expected
    assert (search.table(continued, 5)["state"] == "interrupted").sum() == 1


def test_other_settings_begin_a_new_study(run, quick):
    search.search(run, BASE, 2)
    assert len(search.search(run, Recipe(epochs=2), 3).trials) == 3


def test_a_failed_trial_is_kept_with_its_reason(run, quick, monkeypatch):
    def sometimes(tried):
        if len(quick) == 2:
            raise FastrecError("the loss became nan: take a smaller learning_rate.")
        return {"accuracy": 0.5, "loss": 1.0}

    monkeypatch.setattr("fastrec.train.learner.validate", sometimes)
    table = search.table(search.search(run, BASE, 3), 3)
    assert table["state"].tolist() == ["complete", "fail", "complete"]
    assert "nan" in table["reason"].iloc[1]


def test_if_all_fail_the_reason_is_told(run, quick, monkeypatch):
    def always(tried):
        raise RuntimeError("out of memory")

    monkeypatch.setattr("fastrec.train.learner.validate", always)
    with pytest.raises(FastrecError, match="all 2 trials failed, the first with: out of memory"):
        search.search(run, BASE, 2)


def test_a_real_trial_trains(run):
    study = search.search(run, Recipe(epochs=1, options={"width": 4}), 1)
    assert 0 <= study.best_value <= 1


def test_other_networks_are_searched_by_dropout():
    trial = optuna.trial.FixedTrial({"drop_rate": 0.1, "learning_rate": 0.01, "batch_size": 32, "augment": "none"})
    assert search.suggest(trial, Recipe(architecture="resnet18")).options == {"drop_rate": 0.1}


def test_a_shorter_search_counts_only_its_own_trials(run, quick):
    study = search.search(run, BASE, 5)
    assert len(search.table(study, 2)) == 2
    first = [trial.params["learning_rate"] for trial in study.trials[:2]]
    assert search.winner(study, BASE, 2).learning_rate == min(first)


def test_other_pixels_begin_a_new_study(run, quick):
    from fastrec.artefacts import MANIFEST, SPLITS
    from fastrec.preprocess import cache

    search.search(run, BASE, 2)
    cache.build(run, run.read(MANIFEST), run.read(SPLITS), 24)
    search.search(run, BASE, 2)
    assert len(quick) == 4


def test_no_trials_are_refused(run):
    with pytest.raises(FastrecError, match="trials is 0"):
        search.search(run, BASE, 0)
