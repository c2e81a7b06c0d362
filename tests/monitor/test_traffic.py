import numpy as np
import pandas as pd
import pytest

from fastrec.monitor import log, traffic

from .conftest import REFUSED, rows


@pytest.fixture
def table(tmp_path, write):
    url = f"sqlite:///{tmp_path / 'predictions.db'}"
    write(url, rows(100, source="self-test"))
    write(url, rows(20, first=100))
    write(url, rows(6, first=120, feedback="cat"))
    write(url, rows(3, first=126, feedback="dog"))
    write(url, rows(1, first=129, feedback="zebra"))
    write(url, rows(10, first=130, **REFUSED))
    return log.read(url)


def empty():
    return pd.DataFrame(columns=list(log.COLUMNS)).pipe(log._typed)


def test_requests_are_counted_per_day_and_hour_and_none_is_lost(table):
    for by, index in (("day", "2026-03-01"), ("hour", "2026-03-01 10:00")):
        counts = traffic.requests(table, by)
        assert counts.index[0] == index
        assert counts.sum().to_dict() == {"answered": 130, "refused": 10}


def test_sources_and_codes_are_counted(table):
    counts = traffic.sources(table)
    assert counts.loc["self-test", "answered"] == 100
    assert counts.loc["api"].to_dict() == {"answered": 30, "truncated": 10}


def test_latency_is_that_of_the_answers(table):
    spent = 10.0 + np.arange(130)
    found = traffic.latency(table)
    assert found["median"] == pytest.approx(np.median(spent))
    assert found["95 %"] == pytest.approx(np.quantile(spent, 0.95))
    assert found["longest"] == 139.0


def test_feedback_has_wilsons_interval_and_names_unknown_labels(table):
    found = traffic.feedback(table, ["cat", "dog"])
    assert found.value == 0.6
    assert 0.3 < found.low < 0.6 < found.high < 0.85
    assert found.note == "10 of 140 requests have feedback; unknown to the model: zebra"


def test_self_tests_are_watched_only_where_there_is_nothing_else(table):
    assert set(traffic.watched(table, "03_train/fastnet")["source"]) == {"api"}
    alone = table[table["source"] == "self-test"]
    assert len(traffic.watched(alone, "03_train/fastnet")) == 100
    assert traffic.watched(table, "04_tune/best").empty


def test_a_clock_that_runs_ahead_is_told_with_some_patience(table):
    last = table["time"].max()
    assert traffic.clock(table, last).endswith("none ahead of now.")
    assert traffic.clock(table, last - pd.Timedelta(minutes=4)).endswith("none ahead of now.")
    ahead = (table["time"] > last - pd.Timedelta(hours=1)).sum()
    assert traffic.clock(table, last - pd.Timedelta(hours=2)).startswith(f"{ahead} requests are dated ahead")
    assert "1 not at all" in traffic.clock(table.assign(time=table["time"].mask(table.index == 0)), last)


def test_no_traffic_gives_empty_tables_not_errors():
    assert traffic.requests(empty()).empty
    assert traffic.sources(empty()).empty
    assert traffic.latency(empty()).isna().all()
    assert traffic.feedback(empty(), ["cat"]).value is None
    assert traffic.watched(empty(), "x").empty
    assert traffic.clock(empty()).startswith("All requests")
