"""The clean widget: every issue with its pictures, decided on by buttons or keys."""

import shutil

import pandas as pd
import pytest

from fastrec.artefacts import FOLDS, QUALITY, REJECTED
from fastrec.collect import cases, clean, decisions, look, manifest, sources
from fastrec.run import Run


@pytest.fixture
def reader(monkeypatch):
    monkeypatch.setenv("JPY_SESSION_NAME", "notebook")


@pytest.fixture
def soiled(home, make_images):
    """Return a run, its manifest, its issues and its items: one of each kind that has another form."""
    root = make_images(home / "pets", ["cat", "dog"], per_class=5)
    shutil.copy(root / "cat/004.png", root / "dog/liar.png")
    run, items = Run("t"), sources.listing("folder:pets").items
    usable, rejected, *_ = manifest.inspect(run, items)
    run.write(REJECTED, rejected)
    name = usable["image_id"]
    rows = [
        ("odd_size", name[0], None, "cat 0 is odd."),
        ("imbalance", None, None, "not about a picture"),
        ("near_copy", name[0], name[1], "cat 0 and cat 1 are nearly the same."),
        ("near_copy_two_labels", name[2], name[4], "cat 2 and dog 0 are nearly the same."),
        ("label_error", name[3], None, "cat 3 is a dog."),
        ("dark", "gone", None, "a picture that has gone"),
    ]
    issues = pd.DataFrame(rows, columns=["issue", "image_id", "other_id", "message"]).assign(value=1.0)
    folds = pd.DataFrame({"image_id": [name[3]], "fold": 0, "label": "cat", "predicted": "dog", "scores": [[0.1, 0.9]]})
    run.write(FOLDS, folds)
    return run, usable, issues[QUALITY.schema.names], items


def parts(widget):
    """Return a widget and all widgets inside it."""
    return [widget, *(inner for child in getattr(widget, "children", ()) for inner in parts(child))]


def buttons(panel):
    return {w.description: w for w in parts(panel) if type(w).__name__ == "Button"}


def pictures(panel):
    return [w for w in parts(panel) if type(w).__name__ == "Image"]


def told(panel):
    return " ".join(w.value for w in parts(panel) if type(w).__name__ == "HTML")


def keys(panel):
    return next(w for w in parts(panel) if getattr(w, "placeholder", "") == "click here, then press keys")


def test_cases_come_with_the_worst_first_and_say_what_fits_better(soiled):
    found = cases.of_run(*soiled)
    assert [case.kind for case in found] == [
        "label_conflict",
        "near_copy_two_labels",
        "label_error",
        "odd_size",
        "near_copy",
    ]
    assert [case.suggested for case in found] == [
        (("cat",), ("dog",)),
        (("cat",), ("dog",)),
        (("dog",),),
        (),
        (),
    ]
    assert "pets/cat/004.png as cat and pets/dog/liar.png as dog" in found[0].message


def test_each_kind_has_the_buttons_that_fit_it_to_the_end(soiled, reader):
    run, usable, _, items = soiled
    name, contested = usable["image_id"], look.identity(items[4].path.read_bytes(), None)
    panel = clean.widget(*soiled)
    assert "5 to go" in told(panel)
    assert {"relabel cat (s)", "relabel dog", "drop (d)", "undo (u)"} <= set(buttons(panel))
    assert "keep (k)" not in buttons(panel)  # there is no one label to keep
    buttons(panel)["relabel dog"].click()
    assert len(pictures(panel)) == 2
    buttons(panel)["relabel both cat (s)"].click()
    buttons(panel)["relabel dog (s)"].click()
    buttons(panel)["keep (k)"].click()  # the odd size
    buttons(panel)["drop right (r)"].click()
    assert "Nothing is left to decide here" in told(panel)
    assert decisions.actions(run) == {
        contested: "relabel",
        **dict.fromkeys(name[[2, 3, 4]], "relabel"),
        name[0]: "keep",
        name[1]: "drop",
    }
    assert buttons(panel)["undo (u)"]
    buttons(panel)["undo (u)"].click()
    assert "cat 0 and cat 1" in told(panel)


def test_keys_answer_too_and_undo_takes_a_pair_back_whole(soiled, reader):
    panel = clean.widget(*soiled)
    box = keys(panel)
    box.value = "d"
    box.value = "dsu"
    assert list(decisions.actions(soiled[0]).values()) == ["drop"]
    assert "cat 2 and dog 0" in told(panel)
    box.value = "dsud"  # drops no pair: say which
    assert len(decisions.actions(soiled[0])) == 1
    box.value = "dsudl2"
    made = decisions.latest(soiled[0])
    assert made["action"].tolist() == ["drop", "drop", "relabel"]
    assert list(made["labels"].iloc[-1]) == ["dog"]


def test_it_goes_on_where_it_stopped_and_one_kind_can_be_chosen(soiled, reader):
    decisions.decide(soiled[0], soiled[1]["image_id"][3], "keep")
    panel = clean.widget(*soiled)
    assert "4 to go" in told(panel)
    kind = next(w for w in parts(panel) if type(w).__name__ == "Dropdown")
    assert ("label error", "label_error") in kind.options
    kind.value = "odd_size"
    assert "cat 0 is odd." in told(panel)
    assert "1 to go, 4 of all kinds" in told(panel)
    kind.value = "label_error"
    assert "Nothing is left" in told(panel)


def test_without_a_reader_it_is_a_table_of_what_is_left(soiled, monkeypatch):
    monkeypatch.delenv("JPY_SESSION_NAME", raising=False)
    monkeypatch.delenv("VSCODE_PID", raising=False)
    decisions.decide(soiled[0], soiled[1]["image_id"][0], "drop")  # closes the pair and the odd size
    table = clean.summary(soiled[0], cases.of_run(*soiled))
    assert "cat 3 is a dog." in clean.widget(*soiled).data
    assert table["to decide"].to_dict() == {
        "label_conflict": 1,
        "near_copy_two_labels": 1,
        "label_error": 1,
        "odd_size": 0,
        "near_copy": 0,
    }
    assert table["decided"].sum() == 2
    assert table.loc["label_error", "next"] == "cat 3 is a dog."
    assert clean.widget(*soiled[:2], soiled[2].iloc[:0]) == "Nothing is to be decided."


def test_hostile_names_are_escaped_and_a_picture_that_has_gone_is_told(soiled, reader, home):
    run, usable, issues, _ = soiled
    usable = usable.assign(labels=[["<img src=x onerror=alert(1)>"]] * len(usable))
    issues = issues.assign(message="<script>alert(1)</script>")
    (home / usable["path"][2]).unlink()
    text = told(clean.widget(run, usable, issues))
    assert "<img" not in text
    assert "<script" not in text
    assert "cannot be read" in text
