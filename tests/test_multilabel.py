"""Pictures with several labels, one or none, through every stage: small, with real files."""

from __future__ import annotations

import json
import shutil
import sqlite3

import numpy as np
import pytest
import toy_multi
from asking import client_of, refused, send
from sklearn import metrics as sk

from fastrec import bundle as bundles
from fastrec import labels
from fastrec.artefacts import CACHE, DEPLOYMENT, MANIFEST, METRICS, PACKAGE, PREDICTIONS, SPLITS
from fastrec.deploy import command, package, predictor, recorder, trial, widgets
from fastrec.evaluate import baselines, calibration, compare, errors, metrics, predict
from fastrec.evaluate import widgets as evaluate_widgets
from fastrec.files import checksum
from fastrec.monitor import drift, log, simulation, traffic
from fastrec.monitor.reference import served_answers
from fastrec.records import Metrics
from fastrec.report.facts import gather
from fastrec.report.pages import render_index
from fastrec.run import Run
from fastrec.train import learner, loaders
from fastrec.train.recipe import Recipe

CLASSES, N_BOOT = toy_multi.CLASSES, 100


@pytest.fixture(scope="module")
def finished_home(tmp_path_factory):
    """A home with a run that was trained, evaluated, deployed and served; not to be changed."""
    home = tmp_path_factory.mktemp("several")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FASTREC_HOME", str(home))
        run = toy_multi.build()
        toy_multi.train(run)
        _evaluate(run)
        package.build(run, run.read(METRICS).bundle)
        trial.try_service(run, 20)
    return home


def _evaluate(run):
    table = compare.candidates(run)
    chosen = compare.choose(table)
    predicted = {label: predict.predictions(run, label) for label in table.index}
    test = predicted[chosen]
    run.write(PREDICTIONS, test)
    record = Metrics(
        bundle=chosen,
        n=len(test),
        classes=CLASSES,
        multi_label=True,
        per_class=metrics.per_class(test, CLASSES, True),
        baselines=baselines.baselines(run, N_BOOT),
        candidates=compare.compared(table, predicted, CLASSES, N_BOOT, multi_label=True),
        confusion=metrics.confusion(test, CLASSES, True),
        **metrics.summary(test, CLASSES, N_BOOT, multi_label=True),
    )
    run.write(METRICS, record)


@pytest.fixture
def run(finished_home, tmp_path, monkeypatch):
    shutil.copytree(finished_home, tmp_path / "home")
    monkeypatch.setenv("FASTREC_HOME", str(tmp_path / "home"))
    return Run("several")


# ------------------------------------------------------------------------- data and training


def test_the_run_knows_that_it_is_multi_label_by_its_single_classes(run):
    info, table = run.read(CACHE), run.read(SPLITS)
    assert info.multi_label
    assert info.classes == CLASSES
    given = {row.image_id: labels.join(row.labels) for row in run.read(MANIFEST).itertuples()}
    assert dict(zip(table["image_id"], table["label"], strict=True)) == given
    assert {"", labels.join(CLASSES)} <= set(table["label"])


def test_targets_are_indicators_and_a_batch_can_be_shown(run):
    import matplotlib.pyplot as plt

    dls = loaders.load(run, Recipe(batch_size=16))
    x, y = dls.valid.one_batch()
    assert (y.dtype.is_floating_point, tuple(y.shape)) == (True, (len(x), 3))
    table = run.read(SPLITS).set_index("row")
    expected = labels.indicators(table.loc[dls.valid_ds.rows[: len(x)], "label"], CLASSES)
    np.testing.assert_array_equal(np.asarray(y.cpu()), expected)
    dls.show_batch(max_n=9)
    titles = {name for axis in plt.gcf().axes for name in axis.get_title().split(";")}
    plt.close("all")
    assert titles <= {*CLASSES, ""}
    assert len(titles) > 2


def test_the_bundle_holds_a_threshold_for_each_class_and_figures_by_them(run):
    record = bundles.read_record(run.folder / "03_train" / "fastnet")
    assert record.multi_label
    assert len(record.thresholds) == 3
    valid = predict.predictions(run, "03_train/fastnet", "valid")
    assert record.valid["accuracy"] == pytest.approx((valid["label"] == valid["predicted"]).mean())
    found = metrics.summary(valid, CLASSES, N_BOOT, multi_label=True)
    assert record.valid["macro_f1"] == pytest.approx(found["macro_f1"].value)
    assert record.valid["loss"] == pytest.approx(found["log_loss"].value, abs=1e-5)
    assert record.valid["accuracy"] > 0.6


def test_a_search_judges_trials_as_a_bundle_is_judged(run):
    from fastrec.tune import search

    base = toy_multi.Recipe(**(vars(toy_multi.RECIPE) | {"epochs": 1}))
    study = search.search(run, base, 1)
    best = search.winner(study, base, 1)
    again = learner.validate(toy_multi.fit(run, best))
    assert search.table(study, 1)["value"].iloc[0] == again["accuracy"]


# --------------------------------------------------------------------------------- evaluate


def test_the_figures_are_those_of_scikit_learn(run):
    test, record = run.read(PREDICTIONS), run.read(METRICS)
    truth, guess = (labels.indicators(test[name], CLASSES) for name in ("label", "predicted"))
    scores = np.stack(test["scores"].to_list())
    limits = bundles.read_record(run.folder / record.bundle).thresholds
    np.testing.assert_array_equal(guess, scores >= limits)
    np.testing.assert_allclose(test["score"], np.where(guess, scores, 1 - scores).prod(1))
    assert record.multi_label
    assert record.accuracy.value == pytest.approx(sk.accuracy_score(truth, guess))
    assert record.macro_f1.value == pytest.approx(sk.f1_score(truth, guess, average="macro"))
    assert record.weighted_f1.value == pytest.approx(sk.f1_score(truth, guess, average="weighted"))
    balanced = [sk.balanced_accuracy_score(truth[:, k], guess[:, k]) for k in range(3)]
    assert record.balanced_accuracy.value == pytest.approx(np.mean(balanced))
    losses = [sk.log_loss(truth[:, k], scores[:, k]) for k in range(3)]
    assert record.log_loss.value == pytest.approx(np.mean(losses))
    for name in ("accuracy", "balanced_accuracy", "macro_f1", "log_loss", "ece"):
        found = getattr(record, name)
        assert found.low <= found.value <= found.high
    assert [figures.support for figures in record.per_class.values()] == truth.sum(0).tolist()
    assert calibration.brier(test, CLASSES, True) == pytest.approx(((scores - truth) ** 2).mean())


def test_candidates_and_baselines_are_judged_by_whole_sets(run):
    record, table = run.read(METRICS), run.read(SPLITS)
    train, test = (table.loc[table["split"] == side, "label"] for side in ("train", "test"))
    often = train.value_counts().index[0]
    assert record.baselines["majority"].accuracy.value == pytest.approx((test == often).mean())
    assert "set of labels" in record.baselines["majority"].what
    assert record.accuracy.value > record.baselines["nearest_neighbour"].accuracy.value
    chosen, other = sorted(record.candidates, key=lambda candidate: not candidate.chosen)
    assert (chosen.bundle, chosen.accuracy) == (record.bundle, record.accuracy)
    assert 0 <= other.p_value <= 1


def test_mistakes_are_told_shown_and_filtered_by_each_label(run, monkeypatch):
    test, record = run.read(PREDICTIONS), run.read(METRICS)
    told = errors.verdict(record)
    assert "whole set of labels" in told
    assert errors.confused_in_words(errors.confused(test), multi_label=True).startswith("Most often ")
    assert errors.matrix(record).axes[0].get_xlabel() == "diagonal: found; elsewhere: wrongly added"
    assert calibration.verdict(test)
    evaluate_widgets.grid(run, errors.hardest(test), 4)
    monkeypatch.setattr(evaluate_widgets, "live", lambda: True)
    browser = evaluate_widgets.browse(run, test)
    boxes, position, note = browser.children[0].children, browser.children[1], browser.children[2]
    wrong = errors.mistakes(test)
    assert position.max == len(wrong) - 1
    boxes[0].value = CLASSES[2]
    assert position.max == max(0, sum(CLASSES[2] in labels.split(text) for text in wrong["label"]) - 1)
    assert "<img" not in note.value


# ----------------------------------------------------------------------------------- deploy


def test_served_answers_are_the_offline_ones(run):
    record, test = run.read(DEPLOYMENT), run.read(PREDICTIONS).set_index("image_id")
    assert record.parity.onnx_torch < 1e-4
    assert record.parity.served_offline < 1e-3
    served = predictor.Predictor(run.path(PACKAGE))
    manifest = run.read(MANIFEST).set_index("image_id")
    for image_id, row in test.head(20).iterrows():
        answer = served.predict(run.locate(manifest["path"][image_id]).read_bytes())
        assert (answer.label, answer.labels) == (row["predicted"], tuple(labels.split(row["predicted"])))
        assert answer.score == pytest.approx(row["score"], abs=1e-3)


def test_the_command_names_all_labels(run, capsys):
    picture = str(run.locate(run.read(PREDICTIONS)["path"].iloc[0]))
    assert command.main(run.path(PACKAGE), [picture, "--json"]) == 0
    entry = json.loads(capsys.readouterr().out)
    assert entry["labels"] == labels.split(entry["label"])
    assert list(entry["scores"]) == CLASSES


def test_the_card_says_what_the_answers_are(run):
    text = (run.path(PACKAGE) / "MODEL_CARD.md").read_text()
    limits = bundles.read_record(run.folder / run.read(METRICS).bundle).thresholds
    assert "multi-label" in text
    assert "sigmoid" in text
    assert all(f"(from {limit:.3f})" in text for limit in limits)


def test_the_service_answers_and_takes_feedback_on_sets(run, tmp_path):
    data = run.locate(run.read(PREDICTIONS)["path"].iloc[0]).read_bytes()
    url = recorder.file_url(tmp_path / "log.db")
    with client_of(run.path(PACKAGE), url) as client:
        answer = send(client, data).json()
        assert answer["labels"] == labels.split(answer["label"])
        assert client.get("/model").json()["thresholds"] is not None
        several = client.post("/predict", files=[("file", ("a.png", data)), ("file", ("b.png", data))]).json()
        assert [entry["labels"] for entry in several["predictions"]] == [answer["labels"]] * 2
        for given, kept in (
            ([CLASSES[2], CLASSES[0]], labels.join([CLASSES[0], CLASSES[2]])),
            ([], ""),
            ("дом", "дом"),
        ):
            reply = client.post("/feedback", json={"id": answer["id"], "label": given})
            assert (reply.status_code, reply.json()["label"]) == (200, kept)
            assert feedback_of(tmp_path / "log.db", answer["id"]) == kept
        both = f"{CLASSES[0]}|{CLASSES[2]}"
        assert client.post("/feedback", json={"id": answer["id"], "label": both}).json()["label"] == both
        for given in ("cat", ["дом", "cat"], "дом|cat"):
            refused(client.post("/feedback", json={"id": answer["id"], "label": given}), 422, "unknown_label")
        assert "fastrec_answers_total" in client.get("/metrics").text


def feedback_of(path, identifier):
    connection = sqlite3.connect(path)
    (found,) = connection.execute("select feedback from predictions where id = ?", [identifier]).fetchone()
    connection.close()
    return found


def test_the_notebooks_figure_shows_served_sets(run):
    tried = run.read(PREDICTIONS)[["image_id", "path", "label", "predicted", "score"]]
    assert widgets.answers(run, tried, 6).axes


# ------------------------------------------------------------------------ monitor and report


def test_drift_is_looked_for_class_by_class(run):
    reference = served_answers(run)
    rows = log.read(log.default_url(run))
    live = traffic.watched(rows, reference["bundle"].iloc[0])
    assert set(live["predicted"]) <= set(reference["predicted"])
    many = reference.sample(400, replace=True, random_state=0)
    found = drift.measure(many, many.assign(code=None, source="api"), checksum(run.path(PREDICTIONS)), multi_label=True)
    check = found.checks[-1]
    assert (check.name, check.statistic, check.drifted) == ("predicted", 0.0, False)
    agreed = traffic.feedback(live.assign(feedback=live["predicted"]), CLASSES, True)
    assert agreed.value == 1
    assert "unknown" not in agreed.note


def test_the_simulation_answers_in_sets(run):
    found = simulation.would_notice(run, served_answers(run))
    assert found.loc[("untouched", 0.0), "accuracy"] > found.loc[("darker", 0.5), "accuracy"]


def test_the_report_counts_single_labels_and_escapes_them(run):
    facts = gather(run)
    table, record = run.read(SPLITS), run.read(METRICS)
    assert [name for name, _ in facts.class_counts] == CLASSES
    held = labels.indicators(table.loc[table["split"] == "train", "label"], CLASSES).sum(0)
    assert [counts["train"] for _, counts in facts.class_counts] == held.tolist()
    assert facts.learnt == (table["split"] == "train").sum()
    supports = {name: figures.support for name, figures in record.per_class.items()}
    assert all(pair.of == supports[pair.label] for pair in facts.confusions)
    page = render_index(run).read_text(encoding="utf-8")
    assert "exactly the right labels" in page
    assert "<img src=x" not in page
