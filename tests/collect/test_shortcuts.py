"""Shortcuts: planted ones are found and told in plain words, chance is not taken for one."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from looked import NO_PAIRS, name, tables

from fastrec.artefacts import STATISTICS
from fastrec.collect import shortcuts


def chance(count, classes, seed):
    """Return tables in which everything varies and nothing has to do with the label."""
    random = np.random.default_rng(seed)
    facts = {key: random.random(count) for key in STATISTICS[2:]}
    facts |= {key: random.integers(50, 500, count) for key in ("width", "height", "bytes")}
    facts |= {"mode": random.choice(["RGB", "L"], count), "format": random.choice(["PNG", "JPEG"], count)}
    facts["path"] = [f"x/{random.choice(['IMG', 'photo'])}_{k}.{random.choice(['jpg', 'png'])}" for k in range(count)]
    return tables([str(label) for label in random.integers(0, classes, count)], **facts)


def verdicts(table, seen, near=NO_PAIRS):
    return shortcuts.measure(table, near, seen).set_index("cue")["verdict"]


@pytest.mark.parametrize(("count", "classes"), [(14, 2), (60, 2), (200, 5)])
def test_chance_is_no_shortcut_over_twenty_seeds(count, classes):
    told = pd.concat([verdicts(*chance(count, classes, seed)) for seed in range(20)])
    assert (told != "shortcut").all()
    assert (told == "weak").mean() < 0.05


def halves(count=80):
    return ["cat", "dog"] * (count // 2)


@pytest.mark.parametrize(
    ("cue", "facts"),
    [
        ("format", {"format": ["PNG", "JPEG"] * 40}),
        ("mode", {"mode": ["L", "RGB"] * 40}),
        ("bytes", {"bytes": [1000, 9000] * 40}),
        ("size", {"width": [64, 80] * 40}),
        ("brightness", {"brightness": np.tile([0.3, 0.6], 40) + np.linspace(0, 0.1, 80)}),
        ("saturation", {"saturation": [0.1, 0.5] * 40}),
        ("file name", {"path": [f"x/{'DSC' if k % 2 else 'photo '}{k}.png" for k in range(80)]}),
        ("file name", {"path": [f"x/{k}.{'JPG' if k % 2 else 'jpg'}" for k in range(80)]}),
    ],
)
def test_a_planted_shortcut_is_found_alone(cue, facts):
    found = shortcuts.measure(*pairless(tables(halves(), **facts))).set_index("cue")
    assert found.index[found["verdict"] == "shortcut"].tolist() == [cue]
    assert found.loc[cue, "accuracy"] == 1.0
    assert found.loc[cue, "chance"] == 0.5
    assert 0.8 < found.loc[cue, "low"] < 1.0


def pairless(both):
    return both[0], NO_PAIRS, both[1]


def test_a_shortcut_is_told_in_one_sentence_with_its_cure():
    formats = ["PNG" if k % 2 == 0 or k < 6 else "JPEG" for k in range(80)]
    ((sentence, accuracy),) = shortcuts.sentences(shortcuts.measure(*pairless(tables(halves(), format=formats))))
    assert sentence.startswith("The file format alone names the class of 96 % of pictures")
    assert "(chance 50 %): a model may learn that instead of the picture; save all classes in one format." in sentence
    assert accuracy == pytest.approx(0.9625)


def test_one_class_that_a_cue_sets_apart_is_named():
    labels = [str(k % 8) for k in range(400)]
    both = tables(labels, format=["PNG" if label == "3" else "JPEG" for label in labels])
    cues = shortcuts.measure(*pairless(both))
    assert cues.set_index("cue").loc["format", ["verdict", "apart"]].tolist() == ["shortcut", "3"]
    ((sentence, _),) = shortcuts.sentences(cues)
    assert sentence.startswith("The file format alone tells '3' from the other classes, right for 100 % of pictures")


def test_names_of_classes_and_running_numbers_in_file_names_do_not_count():
    labels = halves()
    named = [f"all/{label.upper() if k % 4 else label}-{k:05d}.jpg" for k, label in enumerate(labels)]
    assert verdicts(*tables(labels, path=named))["file name"] == "none"
    numbered = [f"all/{1000 + k if label == 'cat' else 7000 + k}.jpg" for k, label in enumerate(labels)]
    assert verdicts(*tables(labels, path=numbered))["file name"] == "none"


def test_near_copies_and_groups_do_not_pass_for_independent_pictures():
    random = np.random.default_rng(0)
    patient = np.repeat(np.arange(16), 12)
    labels = [("cat", "dog")[k] for k in random.integers(0, 2, 16)[patient]]
    light = random.random(16)[patient]  # tells the patient, and so the label of his other pictures
    table, seen = tables(labels, brightness=light)
    pairs = pd.DataFrame({"image_id": map(name, range(191)), "other_id": map(name, range(1, 192)), "value": 1.0})
    pairs = pairs[(patient[:-1] == patient[1:])]
    assert verdicts(table, seen)["brightness"] == "shortcut"
    assert verdicts(table, seen, pairs)["brightness"] == "none"
    assert verdicts(table.assign(group=[str(k) for k in patient]), seen)["brightness"] == "none"
    assert verdicts(table.assign(path=[f"{k}.png" for k in patient]), seen)["brightness"] == "none"  # crops of a file


def test_several_labels_are_asked_as_one():
    labels = [["cat"], ["cat", "dog"], ["dog"]] * 30
    table, seen = tables(["x"] * 90, mode=["L", "RGB", "P"] * 30)
    table = table.assign(labels=labels)
    assert verdicts(table, seen)["mode"] == "shortcut"


def test_too_few_pictures_give_no_verdict():
    assert shortcuts.measure(*pairless(tables(["a"] * 30 + ["b"] * 4))).empty
    assert shortcuts.measure(*pairless(tables([]))).empty


def test_the_order_of_the_pictures_changes_nothing():
    table, seen = chance(120, 3, seed=1)
    turned = table.sample(frac=1, random_state=0)
    pd.testing.assert_frame_equal(shortcuts.measure(table, NO_PAIRS, seen), shortcuts.measure(turned, NO_PAIRS, seen))


def test_pictures_that_were_not_measured_are_no_fault():
    table, seen = tables(halves(), format=["PNG", "JPEG"] * 40)
    assert verdicts(table, seen.iloc[:0])["format"] == "shortcut"
    assert verdicts(table, seen.iloc[:20])["brightness"] == "none"


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 7)), max_size=60))
def test_any_labels_and_groups_are_judged_or_left(drawn):
    table, seen = tables([f"class {label}" for label, _ in drawn], format=[f"F{label}" for label, _ in drawn])
    found = shortcuts.measure(table.assign(group=[str(group) for _, group in drawn]), NO_PAIRS, seen)
    assert found["accuracy"].between(0, 1).all()
    assert (found["low"] <= 1).all()
    assert set(found["verdict"]) <= {"none", "weak", "shortcut"}


def test_many_pictures_and_classes_are_asked_in_part(monkeypatch):
    monkeypatch.setattr(shortcuts, "SAMPLE", 100)
    monkeypatch.setattr(shortcuts, "CLASSES", 4)
    table, seen = chance(600, 8, seed=0)
    found = shortcuts.measure(table, NO_PAIRS, seen)
    assert set(found["chance"]) == {0.25}
