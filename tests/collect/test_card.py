"""The data card: every figure of it counted from the tables, every text escaped."""

import pandas as pd
import pytest
from bs4 import BeautifulSoup
from looked import NO_PAIRS, tables

from fastrec.artefacts import CARD, REJECTED
from fastrec.collect import card, quality
from fastrec.run import Run


def described(run=None, **options):
    labels = ["cat", "<b>dog</b>"] * 10
    table, seen = tables(
        labels, width=[*range(40, 60)], format=["PNG"] * 19 + ["GIF"], split_hint=["test"] * 5 + [None] * 15
    )
    table["group"] = ["g1"] * 3 + ["g2"] * 3 + [None] * 14
    refused = pd.DataFrame(
        [("a", "truncated", ""), ("b", "truncated", ""), ("c", "link", "")], columns=REJECTED.schema.names
    )
    issues = quality.audit(table, NO_PAIRS, seen)
    return card.describe(run or Run("t"), table, refused, issues, {"folder:x": "f" * 64}, **options)


def text_of(page):
    return " ".join(BeautifulSoup(page, "html.parser").get_text(" ").split())


def test_a_card_counts_what_is_in_the_tables():
    made = described(label_map=["puppy=dog"], limit=10)
    assert (made.images, made.classes) == (20, {"<b>dog</b>": 10, "cat": 10})
    assert made.formats == {"PNG": 19, "GIF": 1}
    assert made.width == (40, 49.5, 59)
    assert made.refused == {"truncated": 2, "link": 1}
    assert (made.groups, made.given_splits, made.crops) == (2, {"test": 5}, 0)
    assert made.sources[0].images == 20
    assert made.sources[0].licence.startswith("unknown")
    assert (made.label_map, made.limit) == (["puppy=dog"], 10)


def test_a_licence_given_by_hand_overrides(home):
    (home / "x").mkdir()
    (home / "x" / "LICENSE").write_text("MIT")
    assert described().sources[0].licence == "MIT"
    source = described(licence="CC0").sources[0]
    assert (source.licence, source.licence_from) == ("CC0", "given by hand")


def test_faults_of_the_whole_set_are_told_in_full_and_others_counted():
    table, seen = tables(["cat", "cats"] * 40, format=["PNG", "JPEG"] * 40, warnings=[["odd"]] * 80)
    refused = pd.DataFrame(columns=REJECTED.schema.names)
    made = card.describe(Run("t"), table, refused, quality.audit(table, NO_PAIRS, seen), {"folder:x": "f"})
    told = text_of(card.html(made))
    assert "classes 'cat' and 'cats' may be one class spelt twice." in told
    assert "The file format alone names the class" in told
    assert "mended: 80" in told
    assert "refused files none" in told


def test_all_text_is_escaped_and_the_open_questions_are_named():
    page = card.html(described(licence="<script>bad()</script>", label_map=["<i>=x"]))
    assert "<script>" not in page
    assert "<b>" not in page
    assert "<i>" not in page
    told = text_of(page)
    assert "<b>dog</b> 10" in told
    assert "49.5" not in told
    assert "40 to 59 (median 50) wide" in told
    assert "What the files cannot tell: ask the source" in told
    assert "PNG (19), GIF (1)" in told
    assert "ffffffffffff" in told
    assert "<b>dog</b> 10" not in text_of(card.html(described(), classes=False))


def test_many_classes_are_cut_and_counted():
    table, seen = tables([f"class {k:03d}" for k in range(100)])
    refused = pd.DataFrame(columns=REJECTED.schema.names)
    made = card.describe(Run("t"), table, refused, quality.audit(table, NO_PAIRS, seen), {"folder:x": "f"})
    assert "… and 60 more classes" in text_of(card.html(made))


def test_a_card_is_written_and_read_as_it_was(home):
    run = Run("t")
    made = described(run)
    run.write(CARD, made)
    assert run.read(CARD) == made
    assert card.show(made).data == card.html(made)


@pytest.mark.parametrize("count", [0, 1])
def test_a_source_that_gave_nothing_is_named_too(count):
    table, seen = tables(["a", "b"])
    refused = pd.DataFrame(columns=REJECTED.schema.names)
    sources = {"folder:x": "f", **({"folder:empty": "e"} if count else {})}
    made = card.describe(Run("t"), table, refused, quality.audit(table, NO_PAIRS, seen), sources)
    assert [source.images for source in made.sources] == [2, 0][: len(sources)]
