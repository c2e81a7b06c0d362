from math import comb

import numpy as np
import pytest
import toy
from hypothesis import given
from hypothesis import strategies as st

from fastrec import bundle as bundles
from fastrec.artefacts import stage_record
from fastrec.evaluate import compare, metrics, predict
from fastrec.files import FastrecError
from fastrec.pipeline import standing
from fastrec.records import Baseline, Candidate, Interval, Metrics
from fastrec.train import architectures

from .conftest import record

FASTNET, BEST = "03_train/fastnet", "04_tune/best"
RIGHTS = st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=60)


def add(run, name, **changes):
    toy.save_bundle(run, "train", name, architectures.build("fastnet", 3, width=8), **changes)


def test_every_bundle_is_listed_the_best_on_valid_first(run):
    table = compare.candidates(run)
    assert list(table.index) == [FASTNET, BEST]
    assert table["usable"].all()
    assert compare.choose(table) == FASTNET


def test_the_choice_rests_on_valid_accuracy_then_loss_and_never_on_test(run):
    add(run, "untrained", accuracy=0.9, loss=0.29)  # useless on test, better on valid by its record
    record(run, "train", "fastnet", "untrained")
    assert compare.choose(compare.candidates(run)) == "03_train/untrained"
    add(run, "wider", accuracy=0.91, loss=2.0)
    record(run, "train", "fastnet", "untrained", "wider")
    assert compare.choose(compare.candidates(run)) == "03_train/wider"


def test_bundles_that_cannot_be_judged_are_listed_with_the_reason_and_never_chosen(run):
    add(run, "stale", accuracy=1.0, data_sha256="0" * 64)
    add(run, "blank")
    damaged = run.folder / "04_tune" / "damaged"
    damaged.mkdir()
    (damaged / "model.json").write_text("{")
    record(run, "train", "fastnet", "stale", "blank")
    record(run, "tune", "best", "damaged")
    table = compare.candidates(run)
    assert set(table.index) == {FASTNET, BEST, "03_train/stale", "03_train/blank", "04_tune/damaged"}
    assert compare.choose(table) == FASTNET
    notes = table.loc[~table["usable"], "note"]
    assert "another split" in notes["03_train/stale"]
    assert "no accuracy" in notes["03_train/blank"]
    assert "damaged" in notes["04_tune/damaged"]


def test_what_earlier_settings_left_in_the_folders_does_not_compete(run):
    add(run, "leftover", accuracy=1.0, loss=0.0)
    assert set(compare.candidates(run).index) == {FASTNET, BEST}
    record(run, "tune")
    assert list(compare.candidates(run).index) == [FASTNET]


def test_only_folders_among_a_stages_outputs_are_bundles(run):
    (run.folder / "03_train" / "history.parquet").write_text("")
    record(run, "train", "fastnet", "history.parquet")
    assert set(compare.candidates(run).index) == {FASTNET, BEST}


def test_a_stage_that_did_not_finish_takes_no_part_but_is_named(run):
    record(run, "tune", "best", state="failed")
    table = compare.candidates(run)
    assert list(table.index) == [FASTNET, "04_tune"]
    assert table["note"]["04_tune"] == "did not finish"
    record(run, "train", "fastnet", state="running")
    with pytest.raises(FastrecError, match=r"no model to evaluate \(03_train did not finish\): run notebooks/03_train"):
        compare.candidates(run)


def test_a_run_without_stage_records_has_no_candidates(run):
    for stage in ("train", "tune"):
        run.path(stage_record(stage)).unlink()
    with pytest.raises(FastrecError, match="has no model to evaluate"):
        compare.candidates(run)


@pytest.mark.parametrize("before", ["done", "failed"])
def test_evaluate_is_stale_once_train_or_tune_ran_again(run, before):
    record(run, "tune", "best", state=before)
    run.start("evaluate", {})
    compare.candidates(run)
    run.finish()
    noted = run.record("evaluate")
    assert not [reason for reason in standing._changes(run, noted, {}) if "stage.json" in reason]
    record(run, "tune", "best", started="now")
    assert "04_tune/stage.json changed" in list(standing._changes(run, noted, {}))


def test_evaluate_is_stale_once_tune_ran_for_the_first_time(run):
    path = run.path(stage_record("tune"))
    made = path.read_text()
    path.unlink()
    run.start("evaluate", {})
    compare.candidates(run)
    run.finish()
    noted = run.record("evaluate")
    assert "04_tune/stage.json is new" not in list(standing._changes(run, noted, {}))
    path.write_text(made)
    assert "04_tune/stage.json is new" in list(standing._changes(run, noted, {}))


def test_no_usable_bundle_is_an_error_that_names_the_reason_and_the_cure(run):
    for label in (FASTNET, BEST):
        (run.folder / label / "model.json").write_text("{")
    with pytest.raises(FastrecError, match=r"no model to evaluate .*damaged.*run notebooks/03_train\.ipynb"):
        compare.candidates(run)


def test_candidates_are_compared_in_pairs_on_the_same_images(run):
    table = compare.candidates(run)
    predicted = {label: predict.predictions(run, label) for label in table.index}
    chosen, other = compare.compared(table, predicted, toy.CLASSES, n_boot=100)
    assert (chosen.bundle, chosen.chosen, chosen.p_value, chosen.difference.value) == (FASTNET, True, None, 0.0)
    assert (other.bundle, other.chosen, other.valid_accuracy) == (BEST, False, 0.8)
    assert other.difference.value == pytest.approx(other.accuracy.value - chosen.accuracy.value)
    assert other.difference.low <= other.difference.value <= other.difference.high
    assert 0 <= other.p_value <= 1
    assert other.log_loss == metrics.summary(predicted[BEST], toy.CLASSES, n_boot=100)["log_loss"]
    assert other.parameters == bundles.read_record(run.folder / BEST).parameters


def test_accuracies_list_the_chosen_one_then_the_others_then_the_baselines():
    share = Interval(value=0.5, low=0.4, high=0.6)
    fields = {"macro_f1": share, "log_loss": share, "difference": share, "valid_accuracy": 0.5, "parameters": 1}
    made = Metrics.model_construct(
        candidates=[
            Candidate(bundle="a", chosen=False, accuracy=Interval(value=0.7), p_value=0.5, **fields),
            Candidate(bundle="b", chosen=True, accuracy=share, p_value=None, **fields),
        ],
        baselines={"majority": Baseline(accuracy=share, macro_f1=share, what="")},
    )
    table = compare.accuracies(made)
    assert list(table.index) == ["b", "a", "majority"]
    assert table.loc["b"].tolist() == [0.5, 0.4, 0.6]
    assert table.loc["a", ["accuracy_low", "accuracy_high"]].isna().all()


def test_candidates_predicted_on_different_images_are_refused(run):
    table = compare.candidates(run)
    predicted = {label: predict.predictions(run, label) for label in table.index}
    predicted[BEST] = predicted[BEST].iloc[::-1]
    with pytest.raises(FastrecError, match="different images"):
        compare.compared(table, predicted, toy.CLASSES, n_boot=100)


@given(pairs=RIGHTS)
def test_mcnemar_is_the_two_sided_binomial_sum(pairs):
    right, other = np.array(pairs).T
    only, others = int((right & ~other).sum()), int((other & ~right).sum())
    n, k = only + others, min(only, others)
    expected = min(1.0, 2 * sum(comb(n, i) for i in range(k + 1)) / 2**n) if n else 1.0
    assert compare.mcnemar(right, other) == pytest.approx(expected)
    assert compare.mcnemar(right, other) == pytest.approx(compare.mcnemar(other, right))


@given(pairs=RIGHTS)
def test_the_difference_changes_sign_with_the_order_of_the_models(pairs):
    right, other = np.array(pairs).T
    one, two = compare.difference(right, other, 100), compare.difference(other, right, 100)
    assert one.value == pytest.approx(right.mean() - other.mean())
    assert one.value == pytest.approx(-two.value)
    if one.low is not None:
        assert (one.low, one.high) == (pytest.approx(-two.high), pytest.approx(-two.low))
