"""Keys, buttons and the choice of labels that the widgets of collect are made of."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastrec.collect import controls


def chooser(given):
    chosen = []
    return controls.Chooser(given, lambda names: chosen.append(list(names))), chosen


def test_each_key_acts_once_however_many_arrive_together():
    pressed = []
    box = controls.key_box(pressed.append)
    box.value = "a"
    box.value = "abc"
    box.value = "ab"  # a correction is no key
    box.value = "abd"
    box.value = "eabd"  # the caret was set elsewhere
    box.value = "x"  # so is pasting over it
    box._handle_custom_msg({"event": "submit"}, [])
    assert pressed == ["a", "b", "c", "d", "e", controls.ENTER]


def test_classes_of_one_character_are_their_own_keys_and_others_are_numbered():
    assert controls.class_keys(["0", "1", "7"]) == {"0": "0", "1": "1", "7": "7"}
    assert controls.class_keys(["cat", "dog"]) == {"1": "cat", "2": "dog"}
    assert controls.class_keys(["a", "d"]) == {"1": "a", "2": "d"}  # d drops
    assert list(controls.class_keys([f"c{k:02d}" for k in range(12)])) == list("123456789")


def test_one_label_is_chosen_by_key_or_button():
    made, chosen = chooser([["dog"], ["cat"]])
    made.press("2")
    made.press("x")
    made.press(controls.ENTER)
    made.parts[0].click()
    assert chosen == [["dog"], ["cat"]]
    assert [part.description for part in made.parts] == ["1 · cat", "2 · dog"]


def test_several_labels_are_switched_and_then_chosen():
    made, chosen = chooser([["cat", "dog"], ["fox"]])
    made.show(["fox"])
    made.press("1")
    made.press("3")
    assert not chosen
    made.press(controls.ENTER)
    made.press("1")
    made.press(controls.ENTER)  # nothing is switched on: nothing is chosen
    assert chosen == [["cat"]]


def test_of_many_classes_one_is_typed():
    names = [f"class {k:03d}" for k in range(controls.BUTTONS + 1)]
    made, chosen = chooser([[name] for name in names])
    made.parts[0].value = "no such class"
    made.parts[0].value = names[7]
    assert chosen == [[names[7]]]
    assert made.parts[0].value == ""  # ready for the next one
    assert not made.keys


def test_of_many_classes_several_are_tags():
    names = [f"class {k:03d}" for k in range(controls.BUTTONS + 1)]
    made, chosen = chooser([names])
    made.show(names[3:5])
    made.done()
    assert chosen == [names[3:5]]


def test_the_help_escapes_what_classes_are_called():
    made, _ = chooser([["<"], [">"]])
    assert "&lt;" in controls.help_text(made)
    assert "<b><" not in controls.help_text(made)


@pytest.mark.parametrize("mark", ["JPY_SESSION_NAME", "VSCODE_PID"])
def test_a_reader_is_known_by_who_started_the_kernel(monkeypatch, mark):
    for name in ("JPY_SESSION_NAME", "VSCODE_PID"):
        monkeypatch.delenv(name, raising=False)
    assert not controls.live()
    monkeypatch.setenv(mark, "x")
    assert controls.live()


@given(st.text("kd1", max_size=8), st.text("kd1", max_size=4), st.integers(0, 8))
def test_what_was_typed_is_found_wherever_the_caret_stood(old, typed, caret):
    new = old[:caret] + typed + old[caret:]
    found = controls._inserted(old, new)
    assert sorted(found) == sorted(typed)
    if len(typed) == 1 or caret >= len(old):
        assert found == typed
