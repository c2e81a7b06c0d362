import io

import pytest

from fastrec.pipeline import progress as module
from fastrec.pipeline.progress import LiveProgress, LogProgress, progress


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def clock(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    return now


def test_a_log_gets_a_line_at_start_and_end_and_few_between(clock):
    stream = io.StringIO()
    with progress(stream) as show:
        show.begin("3/7 train", "never ran")
        for number in range(1, 13):
            clock[0] += 10
            show.cell(number, 12)
        show.end("done")
    assert stream.getvalue().splitlines() == [
        "3/7 train: started (never ran)",
        "3/7 train: cell 3 of 12, 30 s",
        "3/7 train: cell 6 of 12, 60 s",
        "3/7 train: cell 9 of 12, 90 s",
        "3/7 train: cell 12 of 12, 120 s",
        "3/7 train: done (120.0 s)",
    ]


def test_a_terminal_gets_a_moving_line_and_keeps_one_per_stage(monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    stream = Terminal()
    with progress(stream) as show:
        assert isinstance(show, LiveProgress)
        show.begin("3/7 train", "never ran")
        show.cell(2, 12)
        show.end("done [bold]")
    written = stream.getvalue()
    assert "1/12" in written
    assert "3/7 train: done [bold] (" in written


def test_what_is_no_terminal_is_a_log():
    assert type(progress(io.StringIO())) is LogProgress
