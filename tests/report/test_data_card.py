"""The data card in a run's report."""

import pytest
from bs4 import BeautifulSoup

from fastrec import artefacts as a
from fastrec.records import DataCard, SourceCard
from fastrec.report.pages import render_index

HOSTILE = "<script>bad()</script>"


@pytest.fixture
def card():
    source = SourceCard(
        source=f"folder:{HOSTILE}", fingerprint="0" * 64, images=36, licence=HOSTILE, licence_from="LICENSE"
    )
    ranges = dict.fromkeys(("width", "height", "bytes"), (8, 8.0, 8))
    counts = {"formats": {"PNG": 36}, "modes": {"RGB": 36}, "given_splits": {}, "refused": {HOSTILE: 1}}
    return DataCard(
        sources=[source],
        images=36,
        multi_label=True,
        crops=3,
        classes={"cat": 12},
        groups=0,
        label_map=[],
        limit=None,
        faults={"dark": 2, "shortcut": 1},
        warnings=["The file format alone names the class."],
        **ranges,
        **counts,
    )


def test_the_index_holds_the_card_and_links_it(make_run, card):
    run = make_run(until="collect")
    assert "#data" not in render_index(run).read_text()
    run.write(a.CARD, card)
    page = render_index(run).read_text()
    soup = BeautifulSoup(page, "html.parser")
    told = " ".join(soup.find(id="data").get_text(" ").split())
    assert soup.find("a", href="#data")
    assert "The file format alone names the class." in told
    assert "dark: 2" in told
    assert "several to a picture" in told
    assert f"folder:{HOSTILE} 36 {HOSTILE} LICENSE 000000000000" in told
    assert HOSTILE not in page


def test_a_damaged_card_is_a_note_and_not_an_end(make_run):
    run = make_run(until="collect")
    run.path(a.CARD).write_text("{")
    told = render_index(run).read_text()
    assert "card.json is damaged" in told
    assert 'id="data"' not in told
