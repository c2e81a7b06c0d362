"""The data card: what a reader should know of the pictures before trusting what was learnt from them.

The questions follow Datasheets for Datasets (Gebru et al. 2021, https://doi.org/10.1145/3458723) and Data Cards
(Pushkarna et al. 2022, https://doi.org/10.1145/3531146.3533231), cut down to what the files themselves can
answer; what they cannot is named as open.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd

from fastrec import markup
from fastrec.collect import licences
from fastrec.records import DataCard, SourceCard
from fastrec.run import Run

WHOLE_SET = ("imbalance", "label_typo", "shortcut")  # issues that concern no single picture
MOST_CLASSES = 40
OPEN = (
    "who took the pictures, when and for what",
    "whether they show people, and whether these agreed",
    "which kinds of pictures are missing that the model will meet in use",
)


def describe(
    run: Run,
    manifest: pd.DataFrame,
    rejected: pd.DataFrame,
    issues: pd.DataFrame,
    fingerprints: Mapping[str, str],
    licence: str | None = None,
    label_map: Sequence[str] = (),
    limit: int | None = None,
) -> DataCard:
    """Write the card of what was collected.

    Parameters
    ----------
    run
        Knows where the pictures lie.
    manifest, rejected, issues
        The tables MANIFEST, REJECTED and QUALITY.
    fingerprints
        Of each source by its text.
    licence
        Overrides what the sources say of themselves.
    label_map, limit
        As given to collect.
    """
    return DataCard(
        sources=[_source(run, manifest, name, mark, licence) for name, mark in fingerprints.items()],
        images=len(manifest),
        multi_label=bool((manifest["labels"].str.len() > 1).any()),
        crops=int(manifest["box"].notna().sum()),
        classes=_counts(manifest["labels"].explode()),
        formats=_counts(manifest["format"]),
        modes=_counts(manifest["mode"]),
        width=_range(manifest["width"]),
        height=_range(manifest["height"]),
        bytes=_range(manifest["bytes"]),
        groups=int(manifest["group"].nunique()),
        given_splits=_counts(manifest["split_hint"].dropna()),
        label_map=list(label_map),
        limit=limit,
        refused=_counts(rejected["code"]),
        faults=_counts(issues["issue"]),
        warnings=list(issues.loc[issues["issue"].isin(WHOLE_SET), "message"]),
    )


def _source(run: Run, manifest: pd.DataFrame, source: str, fingerprint: str, licence: str | None) -> SourceCard:
    paths = manifest.loc[manifest["source"] == source, "path"]
    found = (licence, "given by hand") if licence else licences.find(source, [run.locate(path) for path in paths])
    return SourceCard(
        source=source, fingerprint=fingerprint, images=len(paths), licence=found[0], licence_from=found[1]
    )


def _counts(column: pd.Series) -> dict[str, int]:
    counted = column.astype(str).value_counts().sort_index().sort_values(ascending=False, kind="stable")
    return {str(name): int(number) for name, number in counted.items()}


def _range(column: pd.Series) -> tuple[int, float, int]:
    return int(column.min()), float(column.median()), int(column.max())


def html(card: DataCard, classes: bool = True) -> str:
    """Return the card as an HTML fragment, all text of the data escaped; ``classes`` adds their counts."""
    parts = [
        markup.table(
            ("source", "pictures", "licence", "as told by", "fingerprint"),
            [(s.source, f"{s.images:,}", s.licence, s.licence_from, s.fingerprint[:12]) for s in card.sources],
        ),
        markup.table(("", ""), _facts(card)),
        f"<h3>Known faults</h3>{markup.bullets([*card.warnings, *_faults(card)] or ['None was found.'])}",
        f"<h3>What the files cannot tell: ask the source</h3>{markup.bullets(OPEN)}",
    ]
    if classes:
        shown = list(card.classes.items())[:MOST_CLASSES]
        rest = len(card.classes) - len(shown)
        more = [(f"… and {rest:,} more classes", "")] if rest else []
        parts.insert(1, markup.table(("class", "pictures"), [(name, f"{number:,}") for name, number in shown] + more))
    return "\n".join(parts)


def show(card: DataCard) -> object:
    """Return the card as a notebook shows it."""
    from IPython.display import HTML

    return HTML(html(card))


def _facts(card: DataCard) -> list[tuple[str, str]]:
    several = ", several to a picture" if card.multi_label else ""
    rows = [
        ("content", f"{card.images:,} pictures in {len(card.classes):,} classes{several}"),
        ("formats", _listed(card.formats)),
        ("colour modes", _listed(card.modes)),
        ("size", f"{_span(card.width)} wide, {_span(card.height)} high, in pixels"),
        ("file size", f"{_span(card.bytes)} bytes"),
        ("refused files", _listed(card.refused) or "none"),
        ("groups", f"{card.groups:,}, each kept on one side of every split" if card.groups else "none given"),
        ("splits of the source", _listed(card.given_splits) or "none given"),
    ]
    if card.crops:
        rows.insert(1, ("crops", f"{card.crops:,} of the pictures are a box of a larger one"))
    if card.label_map:
        rows.append(("label map", ", ".join(card.label_map)))
    if card.limit is not None:
        rows.append(("limit", f"at most {card.limit:,} pictures of each class were taken"))
    return rows


def _faults(card: DataCard) -> list[str]:
    return [f"{issue.replace('_', ' ')}: {number:,}" for issue, number in card.faults.items() if issue not in WHOLE_SET]


def _listed(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name} ({number:,})" for name, number in counts.items())


def _span(values: tuple[int, float, int]) -> str:
    low, middle, high = values
    return f"{low:,}" if low == high else f"{low:,} to {high:,} (median {middle:,.0f})"
