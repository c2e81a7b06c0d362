"""The label widget: each answer is written at once, and it goes on where it stopped."""

import pytest

from fastrec.collect import decisions, manifest, sources, widgets
from fastrec.run import Run


@pytest.fixture
def reader(monkeypatch):
    monkeypatch.setenv("JPY_SESSION_NAME", "notebook")


@pytest.fixture
def usable(home, make_images):
    make_images(home / "pets", ["cat", "dog"], per_class=2)
    return collect()


def collect(source="folder:pets"):
    return manifest.inspect(Run("t"), sources.listing(source).items)[0]


def parts(widget):
    """Return a widget and all widgets inside it."""
    return [widget, *(inner for child in getattr(widget, "children", ()) for inner in parts(child))]


def by(widget, **traits):
    return next(w for w in parts(widget) if all(getattr(w, name, None) == value for name, value in traits.items()))


def told(panel):
    return " ".join(w.value for w in parts(panel) if type(w).__name__ == "HTML")


def test_without_a_reader_the_decisions_are_counted(usable, monkeypatch):
    monkeypatch.delenv("JPY_SESSION_NAME", raising=False)
    monkeypatch.delenv("VSCODE_PID", raising=False)
    assert widgets.label(Run("t"), usable) == "No picture was decided on by hand yet."


def test_clicks_are_written_at_once_and_it_goes_on_where_it_stopped(usable, reader):
    run = Run("t")
    panel = widgets.label(run, usable)
    assert "pets/cat/000.png: cat (4 to go)" in told(panel)
    by(panel, description="2 · dog").click()
    assert "pets/cat/001.png: cat (3 to go)" in told(panel)
    by(panel, description="drop (d)").click()
    assert decisions.latest(run)["action"].tolist() == ["relabel", "drop"]
    by(panel, description="undo (u)").click()
    assert decisions.latest(run)["action"].tolist() == ["relabel"]
    assert "pets/cat/001.png: cat (3 to go)" in told(widgets.label(run, usable))


def test_keys_do_what_the_buttons_do_to_the_end(usable, reader):
    run = Run("t")
    panel = widgets.label(run, usable)
    box = by(panel, placeholder="click here, then press keys")
    box.value = "k"
    box.value = "kd2k"  # three keys that arrived together
    box.value = "kd2kk"  # nothing is left to act on
    assert decisions.latest(run)["action"].tolist() == ["keep", "drop", "relabel", "keep"]
    assert "Every picture has a decision" in told(panel)
    box.value = "kd2kku"
    assert "pets/dog/001.png: dog (1 to go)" in told(panel)


def test_undo_shows_the_picture_again_even_where_earlier_ones_are_open(usable, reader):
    run = Run("t")
    decisions.decide(run, usable["image_id"][2], "drop")
    panel = widgets.label(run, usable)
    by(panel, description="undo (u)").click()
    assert usable["path"][2] in told(panel)


def test_several_labels_are_switched_then_done(home, make_images, reader):
    root = make_images(home / "pets", ["cat", "dog"], per_class=2)
    (root / "t.csv").write_text("path,labels\ncat/000.png,cat|dog\ncat/001.png,cat\ndog/000.png,dog\n")
    run = Run("t")
    panel = widgets.label(run, collect("csv:pets/t.csv"))
    assert by(panel, description="1 · cat").value
    assert by(panel, description="2 · dog").value
    box = by(panel, placeholder="click here, then press keys")
    box.value = "1"
    box._handle_custom_msg({"event": "submit"}, [])
    assert [list(labels) for labels in decisions.latest(run)["labels"]] == [["dog"]]
    assert "cat/001.png" in told(panel)


def test_hostile_names_are_escaped(home, make_images, reader):
    make_images(home / "pets", ["cat", "dog"], per_class=1)
    (home / "pets/cat").rename(home / "pets" / "<img src=x onerror=alert(1)>")
    assert "<img" not in told(widgets.label(Run("t"), collect()))


def test_a_picture_that_has_gone_is_told_and_can_still_be_dropped(usable, home, reader):
    (home / usable["path"][0]).unlink()
    panel = widgets.label(Run("t"), usable)
    assert "cannot be read" in told(panel)
    by(panel, description="drop (d)").click()
    assert len(decisions.latest(Run("t"))) == 1
