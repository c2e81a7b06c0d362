from __future__ import annotations

import sqlite3
import time

import pytest
from sqlalchemy import select

from fastrec.deploy import recorder
from fastrec.deploy.recorder import PREDICTIONS_TABLE, Recorder
from fastrec.files import FastrecError

COLUMNS = "id time image_id path predicted score scores bundle model_sha256 width height brightness contrast sharpness"
COLUMNS += " saturation milliseconds source code feedback feedback_time"


@pytest.fixture
def file(tmp_path):
    return tmp_path / "07_monitor" / "predictions.db"


@pytest.fixture
def log(file):
    opened = Recorder(recorder.file_url(file))
    yield opened
    opened.close(patience=0.2)


def row(number=0, **more):
    return {"id": f"{number:032d}", "time": recorder.now(), "predicted": "ant", "source": "api", **more}


def stored(file):
    with sqlite3.connect(file) as connection:
        found = connection.execute("select id, predicted, feedback from predictions order by rowid").fetchall()
    connection.close()
    return found


def test_columns_are_the_contract():
    assert [column.name for column in PREDICTIONS_TABLE.columns] == COLUMNS.split()


def test_rows_arrive_in_their_order(log, file):
    for number in range(250):
        log.add(row(number))
    assert log.flush(5)
    assert [r[0] for r in stored(file)] == [f"{n:032d}" for n in range(250)]
    assert (log.written, log.dropped, log.failing) == (250, 0, False)


def test_close_writes_what_waits(file):
    opened = Recorder(recorder.file_url(file))
    opened.add(row())
    opened.close()
    assert len(stored(file)) == 1


def test_feedback_finds_a_row_that_still_waits_and_the_last_word_wins(log, file):
    log.add(row(1))
    assert log.feedback(f"{1:032d}", "bee")
    assert log.feedback(f"{1:032d}", "дом")
    assert stored(file)[0][2] == "дом"


def test_feedback_on_nothing_or_a_refused_picture_is_unknown(log):
    log.add(row(1, predicted=None, code="truncated"))
    assert not log.feedback("none", "bee")
    assert not log.feedback(f"{1:032d}", "bee")


def test_locked_database_delays_but_loses_nothing(log, file, monkeypatch):
    monkeypatch.setattr(recorder, "_RETRY_SECONDS", 0.01)
    with log._engine.connect() as connection:  # the recorder's own connections wait no longer
        connection.exec_driver_sql("PRAGMA busy_timeout = 1")
    blocker = sqlite3.connect(file, isolation_level=None)
    blocker.execute("begin immediate")
    log.add(row(1))
    while not log.failing:
        time.sleep(0.01)
    assert log.waiting == 1
    blocker.execute("rollback")
    blocker.close()
    assert log.flush(10)
    assert not log.failing
    assert len(stored(file)) == 1


def test_full_queue_drops_and_counts_without_waiting(file, monkeypatch):
    monkeypatch.setattr(recorder, "WAITING", 5)
    monkeypatch.setattr(Recorder, "_write", lambda self, rows: False)
    opened = Recorder(recorder.file_url(file))
    for number in range(50):
        opened.add(row(number))
    assert opened.dropped >= 50 - 5 - 5  # what waits, and what the thread holds
    opened.close(patience=0.0)
    assert opened.dropped == 50


def test_row_that_no_database_takes_holds_up_no_other(log, file):
    for each in (row(1), row(2, path="\udcff"), row(3)):
        log.add(each)
    assert log.flush(5)
    assert [r[0] for r in stored(file)] == [f"{n:032d}" for n in (1, 3)]
    assert log.dropped == 1


def test_deleted_database_is_made_anew(log, file):
    log.add(row(1))
    assert log.flush(5)
    for path in file.parent.iterdir():
        path.unlink()
    log.add(row(2))
    assert log.flush(5)
    assert [r[0] for r in stored(file)] == [f"{2:032d}"]


def test_forget_takes_one_source_only(log, file):
    log.add(row(1, source="self-test"))
    log.add(row(2, source="page"))
    log.flush(5)
    engine = recorder.open_log(recorder.file_url(file))
    assert recorder.forget(engine, "self-test") == 1
    with engine.connect() as connection:
        assert connection.execute(select(PREDICTIONS_TABLE.c.source)).scalars().all() == ["page"]
    engine.dispose()


def test_log_opens_twice_and_monitor_reads_it(log, file):
    from fastrec.monitor import log as reader

    log.add(row(1, scores='{"ant": 1.0}', score=1.0))
    log.flush(5)
    again = Recorder(recorder.file_url(file))
    again.add(row(2, predicted=None, code="truncated"))
    again.close()
    table = reader.read(recorder.file_url(file))
    assert list(table.columns) == COLUMNS.split()
    assert table["code"].tolist() == [None, "truncated"]


@pytest.mark.parametrize("url", ["", "nonsense", "sqlite:////proc/none/x.db", "unknown://x", "sqlite:///a\0b"])
def test_unusable_address_is_one_sentence(url):
    with pytest.raises(FastrecError, match="cannot be opened"):
        Recorder(url)


def test_what_is_no_database_is_one_sentence(tmp_path):
    (tmp_path / "x.db").write_bytes(b"no database at all" * 100)
    with pytest.raises(FastrecError, match="cannot be opened"):
        Recorder(recorder.file_url(tmp_path / "x.db"))
