import sqlite3

import pandas as pd
import pytest
from sqlalchemy.engine import make_url

from fastrec.artefacts import LOG_FILE
from fastrec.deploy.recorder import PREDICTIONS_TABLE
from fastrec.files import FastrecError
from fastrec.monitor import log
from fastrec.run import Run

from .conftest import REFUSED, rows


@pytest.fixture
def url(tmp_path):
    return f"sqlite:///{tmp_path / 'predictions.db'}"


def file_of(url):
    return make_url(url).database


def test_the_columns_are_those_the_service_writes():
    assert set(log.COLUMNS) == set(PREDICTIONS_TABLE.columns.keys())


def test_rows_come_back_in_the_order_written_with_their_types(url, write):
    write(url, rows(30))
    write(url, rows(2, first=30, **REFUSED))
    found = log.read(url)
    assert list(found["image_id"]) == [f"{k:064x}" for k in range(32)]
    assert found["time"].dt.tz is not None
    assert found["time"].iloc[0] == pd.Timestamp("2026-03-01T10:00:00.123Z")
    assert found["milliseconds"].dtype == float
    assert found["code"].isna().sum() == 30
    assert found["score"].isna().sum() == 2


def test_a_window_takes_the_latest_rows_even_when_the_clock_jumped_back(url, write):
    write(url, rows(5, time="2026-03-05T10:00:00.000+00:00"))
    write(url, rows(5, first=5, time="2020-01-01T00:00:00.000+00:00"))
    assert list(log.read(url, window=3)["image_id"]) == [f"{k:064x}" for k in (7, 8, 9)]


def test_a_window_of_nothing_is_refused(url):
    with pytest.raises(FastrecError, match="window is 0"):
        log.read(url, window=0)


def test_no_database_and_an_empty_one_are_no_traffic_and_nothing_is_created(url, tmp_path):
    assert log.read(url).empty
    assert list(log.read(url).columns) == list(log.COLUMNS)
    assert log.fingerprint(url) == "absent"
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "predictions.db").touch()
    assert log.read(url).empty
    assert log.fingerprint(url) == "absent"


def test_the_fingerprint_changes_with_rows_and_with_feedback_and_only_then(url, write):
    write(url, rows(3))
    first = log.fingerprint(url)
    assert log.fingerprint(url) == first
    write(url, rows(1, first=3))
    second = log.fingerprint(url)
    with sqlite3.connect(file_of(url)) as connection:
        connection.execute("UPDATE predictions SET feedback = 'dog', feedback_time = '2026-03-09' WHERE rowid = 1")
    connection.close()
    third = log.fingerprint(url)
    assert len({first, second, third}) == 3


def test_rows_of_a_killed_writer_are_read(url, write, tmp_path):
    write(url, rows(3))
    connection = sqlite3.connect(file_of(url))
    connection.execute("INSERT INTO predictions SELECT 'new', * FROM (SELECT time, image_id, path, predicted, score,"
                       " scores, bundle, model_sha256, width, height, brightness, contrast, sharpness, saturation,"
                       " milliseconds, source, code, feedback, feedback_time FROM predictions LIMIT 1)")  # fmt: skip
    connection.commit()
    copy = tmp_path / "copy.db"  # what a kill leaves: the file and its log, no closing
    copy.write_bytes((tmp_path / "predictions.db").read_bytes())
    (tmp_path / "copy.db-wal").write_bytes((tmp_path / "predictions.db-wal").read_bytes())
    connection.close()
    assert len(log.read(f"sqlite:///{copy}")) == 4


def test_a_locked_database_is_told_in_one_sentence(url, write, monkeypatch):
    write(url, rows(3))
    with sqlite3.connect(file_of(url)) as changed:
        changed.execute("PRAGMA journal_mode = DELETE")
    changed.close()
    monkeypatch.setattr(log, "PATIENCE", 0.05)
    holder = sqlite3.connect(file_of(url))
    holder.execute("BEGIN EXCLUSIVE")
    with pytest.raises(FastrecError, match=r"predictions\.db is locked .*: wait until it has written, then run again"):
        log.read(url)
    holder.close()


@pytest.mark.parametrize("content", [b"not a database at all" * 100, b"SQLite format 3\0" + b"\xff" * 5000])
def test_a_damaged_database_is_told_in_one_sentence(url, content):
    with open(file_of(url), "wb") as stream:  # noqa: PTH123
        stream.write(content)
    for ask in (log.read, log.fingerprint):
        with pytest.raises(FastrecError, match=r"predictions\.db (is damaged|cannot be read) \(.*\): "):
            ask(url)


def test_a_database_without_the_table_or_with_another_one_is_told(url):
    with sqlite3.connect(file_of(url)) as connection:
        connection.execute("CREATE TABLE customers (name TEXT)")
    with pytest.raises(FastrecError, match="no table 'predictions': name the service's log in log_url"):
        log.read(url)
    connection.execute("CREATE TABLE predictions (id INTEGER)")
    connection.close()
    with pytest.raises(FastrecError, match="lacks the columns time, image_id"):
        log.read(url)


@pytest.mark.parametrize("address", ["", "predictions.db", "nothing://x", "sqlite:////a\0b"])
def test_an_unusable_address_is_told_in_one_sentence(address):
    with pytest.raises(FastrecError, match="log"):
        log.read(address)


@pytest.mark.parametrize("address", ["sqlite://", "sqlite:///:memory:", "sqlite:///" + "a/" * 30])
def test_an_address_of_nothing_holds_no_traffic(address, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert log.read(address).empty
    assert list(tmp_path.iterdir()) == []


def test_a_missing_driver_names_what_to_install_and_hides_the_password(monkeypatch):
    monkeypatch.setenv(log.PASSWORD, "secret")
    with pytest.raises(FastrecError) as caught:
        log.read("postgresql+pg8000://me@localhost/x")
    assert "pip install pg8000" in str(caught.value)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("url", ["postgresql://me:secret@host/x", "postgresql://host/x?user=me&password=secret"])
def test_a_password_is_refused_where_it_would_be_recorded(url):
    for ask in (lambda: log.address(Run("toy"), url), lambda: log.read(url), lambda: log.fingerprint(url)):
        with pytest.raises(FastrecError, match="set FASTREC_LOG_PASSWORD in the environment") as caught:
            ask()
        assert "secret" not in str(caught.value)


def test_the_password_comes_from_the_environment_where_there_is_a_user(monkeypatch):
    monkeypatch.setenv(log.PASSWORD, "secret")
    assert log._address("postgresql://me@host/x").password == "secret"
    assert log._address("sqlite:////folder/x.db").password is None


def test_an_address_is_the_one_given_or_else_the_runs_own():
    assert log.address(Run("toy"), "sqlite:////folder/x.db") == "sqlite:////folder/x.db"
    assert log.address(Run("toy")) == log.default_url(Run("toy"))
    with pytest.raises(FastrecError, match="is not a database address"):
        log.address(Run("toy"), "predictions.db")


def test_the_default_address_is_the_runs_own_file_whatever_its_name(tmp_path, monkeypatch, write):
    home = tmp_path / "a ?b#c%20d"
    home.mkdir()
    monkeypatch.setenv("FASTREC_HOME", str(home))
    run = Run("toy")
    url = log.default_url(run)
    write(url, rows(2))
    assert run.path(LOG_FILE).is_file()
    assert len(log.read(url)) == 2


def test_odd_times_and_numbers_become_missing_not_errors(url, write):
    write(url, rows(1, time="yesterday"))
    write(url, rows(1, first=1, time="2026-03-01T10:00:00Z", feedback_time="2026-03-01"))
    with sqlite3.connect(file_of(url)) as connection:
        connection.execute("UPDATE predictions SET score = 'high', code = ''")
    connection.close()
    found = log.read(url)
    assert list(found["time"].isna()) == [True, False]
    assert found["score"].isna().all()
    assert found["code"].isna().all()
