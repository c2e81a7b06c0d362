"""Step through what looks wrong, issue by issue, with the pictures: keep, relabel or drop."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import TYPE_CHECKING, Any

import pandas as pd

from fastrec import markup
from fastrec.collect import cases, controls, decisions
from fastrec.collect.cases import Case
from fastrec.collect.sources import Item
from fastrec.run import Run

if TYPE_CHECKING:
    from IPython.display import HTML
    from ipywidgets import Widget


def widget(run: Run, manifest: pd.DataFrame, quality: pd.DataFrame, items: Sequence[Item] = ()) -> Widget | HTML | str:
    """Step through the open cases with buttons and keys; without a reader, count them.

    Every answer is written at once to the run's decisions, which the next run of collect applies;
    called again, the widget goes on with what is still open.
    """
    found = cases.of_run(run, manifest, quality, items)
    if controls.live():
        return _Cleaner(run, found, manifest).panel
    return _shown(summary(run, found)) if found else "Nothing is to be decided."


def _shown(table: pd.DataFrame) -> HTML:
    from IPython.display import HTML

    rows = [[str(cell) for cell in row] for row in table.reset_index().itertuples(index=False)]
    return HTML(markup.table(("issue", *map(str, table.columns)), rows))


def summary(run: Run, found: Sequence[Case]) -> pd.DataFrame:
    """Count by kind of issue (index) the cases that wait for a decision and those that have one; quote the next."""
    made = decisions.actions(run)
    waits = pd.Series([cases.is_open(case, made) for case in found], [case.kind for case in found])
    table = waits.groupby(level=0, sort=False).agg(["sum", "size"]).rename_axis("issue")
    following = {case.kind: case.message for case in reversed(found) if cases.is_open(case, made)}
    return pd.DataFrame(
        {
            "to decide": table["sum"].astype(int),
            "decided": table["size"] - table["sum"].astype(int),
            "next": table.index.map(lambda kind: following.get(kind, "")),
        }
    )


class _Cleaner:
    """The open cases of the chosen kind, one at a time, the ways to answer, and the way back."""

    def __init__(self, run: Run, found: Sequence[Case], manifest: pd.DataFrame) -> None:
        import ipywidgets as w

        self.run, self.found = run, list(found)
        self.case: Case | None = None
        self.commands: dict[str, Any] = {}
        kinds = list(dict.fromkeys(case.kind for case in found))
        self.kind = w.Dropdown(options=[("all kinds", ""), *((kind.replace("_", " "), kind) for kind in kinds)])
        self.kind.observe(lambda _: self.advance(), "value")
        self.progress = w.IntProgress(max=max(1, len(found)), layout=w.Layout(width="160px"))
        self.left, self.note, self.pictures = w.HTML(), w.HTML(), controls.frame()
        self.answers = w.HBox(layout=w.Layout(flex_flow="row wrap"))
        self.chooser = controls.Chooser(manifest["labels"], lambda names: self.decide("relabel", names))
        self.keys = controls.key_box(self.press)
        row = w.Layout(align_items="center")
        self.panel = w.VBox(
            [
                w.HBox([self.kind, self.progress, self.left], layout=row),
                self.note,
                self.pictures,
                self.answers,
                self.chooser.widget,
                w.HBox([self.keys, w.HTML(controls.help_text(self.chooser))], layout=row),
            ]
        )
        self.advance()

    def press(self, key: str) -> None:
        """Act on a key."""
        self.commands.get(key, lambda: self.chooser.press(key))()

    def decide(self, action: decisions.Action, names: Sequence[str] = (), only: int | None = None) -> None:
        """Write down the answer for all pictures of the case, or for one of them, and go on."""
        if self.case is not None:
            ids = self.case.image_ids
            decisions.decide(self.run, ids if only is None else ids[only], action, names)
            self.advance()

    def undo(self) -> None:
        """Take the last decision back, and show its case again."""
        self.advance(decisions.undo(self.run))

    def advance(self, first: Sequence[str] = ()) -> None:
        """Show the case of the pictures ``first``, or else the first open one of the chosen kind."""
        actions = decisions.actions(self.run)
        waiting = [case for case in self.found if cases.is_open(case, actions)]
        here = [case for case in waiting if self.kind.value in ("", case.kind)]
        back = [case for case in here if set(first) & set(case.image_ids)]
        self.case = next(iter(back or here), None)
        self.progress.value = len(self.found) - len(waiting)
        self.left.value = f"{len(here):,} to go" + f", {len(waiting):,} of all kinds" * bool(self.kind.value)
        self.draw()
        self.keys.focus()

    def draw(self) -> None:
        """Show the case with the answers that fit it."""
        import ipywidgets as w

        self.commands = {"u": self.undo}
        undo = controls.button("undo (u)", self.undo, "warning", "take the last decision back")
        self.chooser.widget.layout.display = "flex" if self.case else "none"
        if self.case is None:
            self.note.value = "Nothing is left to decide here: run this notebook again to apply the decisions."
            self.pictures.children, self.answers.children = (), (undo,)
            return
        shown = [w.Image(format="png") for _ in self.case.places]
        faults = [
            controls.show(self.run, path, box, one) for (path, box), one in zip(self.case.places, shown, strict=True)
        ]
        texts = [escape(", ".join(names)) for names in self.case.given] or ["two labels"]
        self.pictures.children = [
            w.VBox([one, w.HTML(f"<b>{text}</b>")]) for one, text in zip(shown, texts, strict=True)
        ]
        told = f"<b>{escape(self.case.kind.replace('_', ' '))}</b>: {escape(' '.join([self.case.message, *faults]))}"
        self.note.value = told
        self.answers.children = [*self.offered(self.case), undo]
        self.chooser.show(self.case.given[0] if self.case.given else ())

    def offered(self, case: Case) -> list[Widget]:
        """Make the buttons that fit a case, and set the keys to the same answers."""
        made, both = [], "both " * (len(case.image_ids) > 1)

        def offer(key: str, text: str, act: Any, style: str = "") -> None:
            first = key not in self.commands  # of several suggestions the key takes the first
            self.commands.setdefault(key, act)
            made.append(controls.button(f"{text} ({key})" if first else text, act, style))

        if case.kind != cases.CONFLICT:
            offer("k", f"keep {both}".strip(), lambda: self.decide("keep"), "success")
        for names in case.suggested:
            text = f"relabel {both}{', '.join(names)}"
            offer("s", text, lambda names=names: self.decide("relabel", names), "info")
        if both:
            offer("l", "drop left", lambda: self.decide("drop", only=0), "danger")
            offer("r", "drop right", lambda: self.decide("drop", only=1), "danger")
        else:
            offer("d", "drop", lambda: self.decide("drop"), "danger")
        return made
