"""Tables and lists as HTML: whole sentences, counted by kind, and nothing of the data is markup."""

import pandas as pd
from bs4 import BeautifulSoup

from fastrec import markup


def shown(kinds, sentences):
    frame = pd.DataFrame({"code": kinds, "message": sentences})
    return BeautifulSoup(markup.by_kind(frame, "code", "message").data, "html.parser")


def test_each_kind_is_counted_and_every_sentence_is_there_whole():
    long = "a sentence of many words " * 20
    soup = shown(["empty", "cut", "empty"], ["first.", long, "third."])
    rows = [[cell.text for cell in row.find_all(["th", "td"])] for row in soup.tbody.find_all("tr")]
    assert rows == [["empty", "2", "first."], ["cut", "1", long]]
    assert soup.summary.text == "All 3"
    assert [line.text for line in soup.find_all("li")] == ["first.", long, "third."]


def test_where_each_kind_has_one_sentence_nothing_is_folded_away():
    assert shown(["empty", "cut"], ["one.", "two."]).details is None


def test_of_a_great_many_sentences_the_first_are_shown_and_the_rest_is_counted():
    lines = shown(["empty"] * (markup.MOST + 5), [str(k) for k in range(markup.MOST + 5)]).find_all("li")
    assert len(lines) == markup.MOST + 1
    assert lines[-1].text == "… and 5 more, in the table on disk"


def test_hostile_text_is_text():
    hostile = "<img src=x onerror=alert(1)>"
    soup = shown([hostile, hostile], [hostile, "x"])
    assert soup.img is None
    assert soup.tbody.th.text == hostile
