"""Tables and lists as HTML that notebooks and reports show alike; every text of the data is escaped."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd
    from IPython.display import HTML

MOST = 1000  # sentences of a list
_LONG = ' class="text"'  # may be broken over lines


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table whose rows begin with their name."""
    cells = "".join(f'<th scope="col">{escape(name)}</th>' for name in head)
    lines = [
        f'<tr><th scope="row">{escape(first)}</th>'
        + "".join(f"<td{_LONG if len(text) > 40 else ''}>{escape(text)}</td>" for text in rest)
        + "</tr>"
        for first, *rest in rows
    ]
    top = f"<thead><tr>{cells}</tr></thead>" if any(head) else ""
    return f"<table>{top}<tbody>{''.join(lines)}</tbody></table>"


def bullets(lines: Iterable[str]) -> str:
    """Return a list."""
    return f"<ul>{''.join(f'<li>{escape(line)}</li>' for line in lines)}</ul>"


def by_kind(frame: pd.DataFrame, kind: str, sentence: str) -> HTML:
    """Show sentences by their kind: of each how many there are and the first, and all of them folded away.

    Parameters
    ----------
    frame
        One row per sentence.
    kind, sentence
        Its columns.
    """
    from IPython.display import HTML

    rows = [(str(name), f"{len(said):,}", said[sentence].iloc[0]) for name, said in frame.groupby(kind, sort=False)]
    lines = list(frame[sentence].head(MOST))
    rest = [f"… and {len(frame) - MOST:,} more, in the table on disk"] if len(frame) > MOST else []
    every = f"<details><summary>All {len(frame):,}</summary>{bullets([*lines, *rest])}</details>"
    return HTML(table((kind, "number", "for example"), rows) + (every if len(frame) > len(rows) else ""))
