"""What the widgets of collect are made of: the picture, the keys, and the choice of a label."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from fastrec import images, plots
from fastrec.run import Run

if TYPE_CHECKING:
    from ipywidgets import Text, Widget

BUTTONS = 30  # of more classes a name is typed, not looked for
ENTER = "\n"
COMMANDS = "kdlrsu"  # keep, drop, drop left, drop right, take the suggestion, undo
SIDE = 224  # of the shown picture, in pixels


def live() -> bool:
    """Say whether a person sits at the notebook: its kernel was started by Jupyter or VS Code, not by a program."""
    return bool({"JPY_SESSION_NAME", "VSCODE_PID"} & set(os.environ))


def whole(run: Run, path: str, box: Sequence[float] | None, side: int) -> np.ndarray:
    """Return a picture of the manifest, uncut: its longer side is ``side`` pixels.

    Raises
    ------
    fastrec.images.ImageError
        If the file is gone or no picture any more.
    """
    pixels = images.crop(images.decode(images.read_bytes(run.locate(path))).pixels, box)
    height, width = (max(1, round(length * side / max(pixels.shape[:2]))) for length in pixels.shape[:2])
    picture = Image.fromarray(np.ascontiguousarray(pixels))
    return np.asarray(picture.resize((width, height), Image.Resampling.BILINEAR))


def short(text: str, longest: int = 7) -> str:
    """Cut a name so that two fit above a small picture."""
    return text if len(text) <= longest else text[: longest - 1] + "…"


def show(run: Run, path: str, box: Sequence[float] | None, picture: Widget) -> str:
    """Put a picture into an ``Image`` widget and return why it cannot be shown, or nothing."""
    try:
        picture.value = plots.png(whole(run, path, box, SIDE))
    except images.ImageError as error:
        picture.value = plots.png(np.full((SIDE, SIDE, 3), 225, np.uint8))
        return f"{path} {error}."
    return ""


def class_keys(classes: Sequence[str]) -> dict[str, str]:
    """Return which key stands for which class: its name where all are single characters, else 1 to 9 in order."""
    if all(len(name) == 1 and name.isprintable() and name not in COMMANDS for name in classes):
        return {name: name for name in classes}
    return {str(number): name for number, name in enumerate(classes[:9], start=1)}


def key_box(press: Callable[[str], None]) -> Text:
    """Make a text box in which every key acts at once; Enter counts as a key.

    ipywidgets has no events of keys, and JupyterLab strips scripts from outputs.  What was typed stays
    in the box: clearing it while a person types would lose keys or repeat them.
    """
    import ipywidgets as w

    box = w.Text(placeholder="click here, then press keys", layout=w.Layout(width="230px"))

    def changed(change: dict[str, str]) -> None:
        for key in _inserted(change["old"], change["new"]):
            press(key)

    def sent(_: Widget, content: dict[str, Any], __: object) -> None:
        if content.get("event") == "submit":
            press(ENTER)

    box.observe(changed, "value")
    box.on_msg(sent)
    return box


def _inserted(old: str, new: str) -> str:
    """Return what was typed, wherever the caret stood; deleting and replacing are no keys."""
    head = next(
        (k for k, (one, other) in enumerate(zip(old, new, strict=False)) if one != other), min(len(old), len(new))
    )
    return new[head : head + len(new) - len(old)] if new.endswith(old[head:]) and len(new) > len(old) else ""


def button(text: str, act: Callable[[], object], style: str = "", hint: str = "") -> Widget:
    """Make a button that is as wide as its text."""
    import ipywidgets as w

    made = w.Button(description=text, button_style=style, tooltip=hint or text, layout=w.Layout(width="auto"))
    made.on_click(lambda _: act())
    return made


class Chooser:
    """The choice of a picture's label, or of several, by the mouse and by the keys of :func:`class_keys`.

    A button per class acts at once; with several labels the classes are toggles, and *done* acts.  Over
    30 classes a name is typed instead, which the browser completes.

    Parameters
    ----------
    given
        The labels of every picture: they tell the classes, and whether a picture may have several.
    choose
        Called with the labels.
    """

    def __init__(self, given: Iterable[Sequence[str]], choose: Callable[[Sequence[str]], None]) -> None:
        import ipywidgets as w

        listed = [list(names) for names in given]
        self.classes = sorted({name for names in listed for name in names})
        self.several = any(len(names) != 1 for names in listed)
        self.choose = choose
        self.typed = len(self.classes) > BUTTONS
        self.keys = {} if self.typed else class_keys(self.classes)
        self.parts = self._typed() if self.typed else self._buttons()
        done = [button("done (Enter)", self.done, "primary")] if self.several else []
        flow = w.Layout(flex_flow="row wrap", align_items="center")
        self.widget = w.Box([w.HTML("label:"), *self.parts, *done], layout=flow)

    def _buttons(self) -> list[Any]:
        import ipywidgets as w

        key_of = {name: key for key, name in self.keys.items()}
        named = {
            name: f"{key_of[name]} · {name}" if name in key_of and key_of[name] != name else name for name in key_of
        }
        texts = [named.get(name, name) or " " for name in self.classes]
        if self.several:
            return [w.ToggleButton(description=text, tooltip=text, layout=w.Layout(width="auto")) for text in texts]
        return [button(text, partial(self.choose, (name,))) for name, text in zip(self.classes, texts, strict=True)]

    def _typed(self) -> list[Any]:
        import ipywidgets as w

        if self.several:
            return [w.TagsInput(allowed_tags=self.classes, allow_duplicates=False)]
        box = w.Combobox(
            options=self.classes, ensure_option=True, continuous_update=False, placeholder="type a class …"
        )
        box.observe(self._entered, "value")
        return [box]

    def _entered(self, change: dict[str, Any]) -> None:
        if change["new"] in self.classes:  # the browser may send what is none
            change["owner"].value = ""
            self.choose((change["new"],))

    def show(self, labels: Sequence[str]) -> None:
        """Set the toggles to the labels that a picture has."""
        if self.several and self.typed:
            self.parts[0].value = list(labels)
        elif self.several:
            for name, toggle in zip(self.classes, self.parts, strict=True):
                toggle.value = name in labels

    def chosen(self) -> list[str]:
        """Return the labels whose toggles are down."""
        if self.typed:
            return sorted(self.parts[0].value)
        return [name for name, toggle in zip(self.classes, self.parts, strict=True) if toggle.value]

    def done(self) -> None:
        """Choose what the toggles say, if they say anything."""
        if self.several and self.chosen():
            self.choose(self.chosen())

    def press(self, key: str) -> None:
        """Act on a key that stands for a class, or on Enter."""
        if key == ENTER:
            self.done()
        elif key in self.keys and self.several:
            toggle = self.parts[self.classes.index(self.keys[key])]
            toggle.value = not toggle.value
        elif key in self.keys:
            self.choose((self.keys[key],))


def frame(*children: Widget) -> Widget:
    """Put pictures beside each other on a place as high as the highest, so that the buttons below stand still."""
    import ipywidgets as w

    return w.HBox(list(children), layout=w.Layout(min_height=f"{SIDE + 36}px", align_items="flex-start"))


def help_text(chooser: Chooser) -> str:
    """Say which keys there are."""
    if not chooser.keys:
        return "the letters on the buttons are keys"
    first, last = (escape(list(chooser.keys)[k]) for k in (0, -1))
    what = "switches a label, Enter ends" if chooser.several else "gives the label"
    return f"keys: <b>{first}</b> to <b>{last}</b> {what}; letters as on the buttons"
