"""Cross-validation: every picture outside test is judged once, by a model that did not learn from it."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.figure import Figure

from fastrec.artefacts import CACHE, FOLDS, MANIFEST, SPLITS
from fastrec.files import FastrecError
from fastrec.preprocess import cache, splits
from fastrec.train import loaders, training
from fastrec.train.recipe import Recipe
from fastrec.tune import crossval

QUICK = Recipe(epochs=1, options={"width": 4}, augment="none")


@pytest.fixture
def outside(run):
    table = run.read(SPLITS)
    return table[table["split"] != "test"]


def count_trainings(monkeypatch, stop_after=99):
    """Record the rows that each training is kept from, and stop like a killed run before one too many."""
    seen, fit = [], training.fit

    def counted(run, tried, held_out):
        if len(seen) == stop_after:
            raise KeyboardInterrupt
        seen.append(list(held_out))
        return fit(run, tried, held_out=held_out)

    monkeypatch.setattr(training, "fit", counted)
    return seen


def test_every_picture_outside_test_is_predicted_once(run, outside, monkeypatch):
    seen = count_trainings(monkeypatch)
    table = crossval.cross_validate(run, QUICK, 3)
    assert table["image_id"].tolist() == outside["image_id"].tolist()
    assert table["label"].tolist() == outside["label"].tolist()
    assert sorted(row for rows in seen for row in rows) == sorted(outside["row"])
    np.testing.assert_allclose(np.stack(table["scores"]).sum(1), 1, atol=1e-6)
    classes = np.array(run.read(CACHE).classes)
    assert (classes[np.stack(table["scores"]).argmax(1)] == table["predicted"]).all()
    pd.testing.assert_frame_equal(run.read(FOLDS), table, check_dtype=False)


def test_a_model_learns_from_all_but_its_fold_and_never_from_test(run, outside):
    held_out = outside["row"].to_numpy()[::3]
    test = run.read(SPLITS).query("split == 'test'")["row"].to_numpy()
    dls = loaders.load(run, Recipe(batch_size=8), held_out=np.concatenate([held_out, test]))
    assert set(dls.valid_ds.rows) == set(held_out)
    assert set(dls.train_ds.rows) == set(outside["row"]) - set(held_out)


def test_a_killed_run_goes_on_after_its_finished_folds(run, monkeypatch):
    seen = count_trainings(monkeypatch, stop_after=2)
    with pytest.raises(KeyboardInterrupt):
        crossval.cross_validate(run, QUICK, 3)
    assert not run.has(FOLDS)
    seen.clear()
    broken = crossval.cross_validate(run, QUICK, 3)
    assert len(seen) == 1
    for path in run.path(crossval.KEPT).rglob("0.parquet"):
        path.write_bytes(b"damaged")
    seen.clear()
    again = crossval.cross_validate(run, QUICK, 3)
    assert len(seen) == 1
    pd.testing.assert_frame_equal(broken, again, check_dtype=False)


def test_another_recipe_begins_anew_and_clears_the_old_folds(run, monkeypatch):
    monkeypatch.setattr(crossval, "_predicted", lambda run, tried, held_out, info: fake(held_out))
    crossval.cross_validate(run, QUICK, 2)
    first = list(run.path(crossval.KEPT).iterdir())
    crossval.cross_validate(run, Recipe(epochs=2), 2)
    assert len(first) == 1
    assert first != list(run.path(crossval.KEPT).iterdir())
    assert len(list(run.path(crossval.KEPT).iterdir())) == 1


def fake(rows):
    scores = [[0.9, 0.1] if name == "cat" else [0.1, 0.9] for name in rows["label"]]
    return rows.assign(predicted=rows["label"], scores=scores)[FOLDS.schema.names]


def test_folds_of_the_split_are_taken_where_their_number_fits(outside):
    assert crossval.assign(outside, 5).equals(outside["fold"])
    assert set(crossval.assign(outside, 4)) == {0, 1, 2, 3}


@settings(max_examples=25)
@given(st.lists(st.tuples(st.sampled_from(["a", "b", "a|b", ""]), st.integers(0, 9)), min_size=8), st.integers(2, 4))
def test_groups_stay_together(pictures, folds):
    table = pd.DataFrame(pictures, columns=["label", "group"]).assign(fold=-1)
    try:
        table["fold"] = crossval.assign(table, folds)
    except FastrecError:  # too few groups for so many folds
        return
    assert (table.groupby("group")["fold"].nunique() == 1).all()
    assert set(table["fold"]) == set(range(folds))


def test_too_few_or_too_many_folds_are_refused(run, outside):
    with pytest.raises(FastrecError, match="folds is 1: take at least 2"):
        crossval.cross_validate(run, QUICK, 1)
    with pytest.raises(FastrecError, match="folds is 99, too many for 48 pictures in 48 groups: take fewer"):
        crossval.assign(outside, 99)


def test_pictures_with_several_labels_are_judged_too(run):
    manifest = run.read(MANIFEST)
    manifest["labels"] = [["cat", "dog"] if k % 3 == 0 else list(names) for k, names in enumerate(manifest["labels"])]
    split = splits.split(manifest)
    run.write(SPLITS, split)
    assert cache.build(run, manifest, split, 16).multi_label
    table = crossval.cross_validate(run, QUICK, 2)
    scores = np.stack(table["scores"])
    assert scores.min() >= 0
    assert not np.allclose(scores.sum(1), 1)  # each class on its own
    assert set(table["predicted"]) <= {"", "cat", "dog", "cat|dog"}
    assert crossval.doubted(run, table) is not None


def test_the_figures_show_folds_and_doubts(run, outside, capsys):
    table = fake(outside.assign(fold=crossval.assign(outside, 3)))
    table.loc[table.index[:2], "label"] = table["label"].map({"cat": "dog", "dog": "cat"})
    assert crossval.accuracies(table)["images"].sum() == len(outside)
    assert "over 3 folds" in crossval.figure(table).axes[0].get_title()
    figure = crossval.doubted(run, table)
    assert isinstance(figure, Figure)
    assert [axis.get_title()[-4:] for axis in figure.axes if axis.get_title()] == ["0.90"] * 2
    assert "2 of 48 labels are doubtful" in capsys.readouterr().out
