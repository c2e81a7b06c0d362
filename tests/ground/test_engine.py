"""Mapping keeps order and errors, and bounds what one item can cost."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastrec import children, engine
from fastrec.engine import Lost
from fastrec.files import FastrecError
from fastrec.images import ImageError

ROOT = Path(__file__).resolve().parents[2]


def square(x: int) -> int:
    return x * x


def where(_: int) -> int:
    time.sleep(0.002)
    return os.getpid()


def refuse(x: int) -> int:
    if x == 7:
        raise ImageError("truncated", "is cut short")
    return x


def misbehave(x: int) -> int:
    match x:
        case 3:
            time.sleep(60)
        case 5:
            os.abort()
        case 7:
            os.kill(os.getpid(), signal.SIGKILL)
        case 9:
            return len(bytearray(2**40))
        case 11:
            raise SystemExit(4)
    return x


def ranked(results: list[int]) -> list[tuple[int, int]]:
    """Tell the place of each result among those that were finished with it."""
    return list(enumerate(results))


def refuse_all(results: list[int]) -> list[int]:
    raise ImageError("corrupt", "cannot be finished")


def slow_in_c(x: int) -> int:
    return len(str(sum(range(10**12)))) if x == 1 else x  # no handler written in Python would ever run


def talk(x: int) -> int:
    print("libraries print what they like", flush=True)
    os.write(1, b"\x80\x05 and where they like")
    return x


@pytest.mark.parametrize("processes", [None, 1, 2])
def test_results_come_in_the_order_of_the_items(processes):
    assert list(engine.map_items(square, range(500), processes)) == [k * k for k in range(500)]


@given(count=st.integers(0, 200), processes=st.integers(1, 3))
def test_every_item_has_its_result(count, processes):
    assert list(engine.map_items(square, range(count), processes)) == [k * k for k in range(count)]


def test_children_work_and_stay_for_the_next_call():
    first = set(engine.map_items(where, range(300), 2))
    assert os.getpid() not in first
    assert len(first) == 2
    assert set(engine.map_items(where, range(300), 2)) == first


def test_a_child_that_went_is_replaced():
    (first,) = set(engine.map_items(where, range(3), 1))
    os.kill(first, signal.SIGKILL)
    (second,) = set(engine.map_items(where, range(3), 1))
    assert first != second


@pytest.mark.parametrize("processes", [1, 2])
def test_a_fault_arrives_as_what_it_was(processes):
    results = engine.map_items(refuse, range(20), processes)
    with pytest.raises(ImageError, match="is cut short") as caught:
        list(results)
    assert caught.value.code == "truncated"


def test_what_an_item_does_to_its_process_costs_only_that_item():
    found = list(engine.map_items(misbehave, range(200), 2, seconds=0.5))
    lost = {place: result.code for place, result in enumerate(found) if isinstance(result, Lost)}
    assert lost == {3: "timeout", 5: "crashed", 7: "crashed", 9: "memory", 11: "crashed"}
    assert [result for result in found if not isinstance(result, Lost)] == [k for k in range(200) if k not in lost]
    assert "SIGABRT" in found[5].message
    assert "exit 4" in found[11].message


def test_results_are_finished_together_and_lost_ones_left_alone():
    found = list(engine.map_items(misbehave, range(200), 2, seconds=0.5, finish=ranked))
    lost = {place for place, result in enumerate(found) if isinstance(result, Lost)}
    assert lost == {3, 5, 7, 9, 11}
    assert [result[1] for result in found if not isinstance(result, Lost)] == [k for k in range(200) if k not in lost]
    assert 8 <= max(result[0] for result in found if not isinstance(result, Lost)) < children.BATCH


def test_a_fault_of_the_finish_arrives_as_what_it_was():
    with pytest.raises(ImageError, match="cannot be finished"):
        list(engine.map_items(square, range(9), 1, finish=refuse_all))


def test_the_memory_limit_holds():
    (result,) = engine.map_items(bytearray, [2**29], 1, memory=2**29)
    assert isinstance(result, Lost)
    assert result.code == "memory"
    (result,) = engine.map_items(bytearray, [2**20], 1, memory=2**29)
    assert result == bytearray(2**20)


def test_time_is_limited_inside_compiled_code_too():
    began = time.monotonic()
    found = list(engine.map_items(slow_in_c, range(3), 1, seconds=0.3))
    assert [getattr(result, "code", result) for result in found] == [0, "timeout", 2]
    assert time.monotonic() - began < 10


def test_what_children_print_is_no_result():
    assert list(engine.map_items(talk, range(5), 1)) == list(range(5))


def test_closing_ends_the_work_at_once():
    began = time.monotonic()
    with closing(engine.map_items(time.sleep, [0, *[0.2] * 10, *[25] * 50], 2)) as results:
        next(results)
    assert time.monotonic() - began < 10


def test_a_function_that_no_child_can_load_is_one_sentence(monkeypatch):
    monkeypatch.setattr(square, "__module__", "fastrec.engine")
    monkeypatch.setattr(engine, "square", square, raising=False)
    with pytest.raises(FastrecError, match=r"^a worker process cannot load its function \(AttributeError.*module\.$"):
        list(engine.map_items(square, range(3)))


def test_a_child_that_cannot_start_is_one_sentence(monkeypatch):
    children.stop()
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(FastrecError, match=r"^a worker process did not start \(it .*exit 1.*mend it\.$"):
        list(engine.map_items(square, range(3)))


def test_a_script_needs_no_guard_and_leaves_nobody_behind(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(
        "from fastrec import engine\nimport os\nprint(*engine.map_items(os.path.basename, ['a/b'] * 99))\n"
    )
    done = subprocess.run(
        [sys.executable, script],
        capture_output=True,
        check=False,
        text=True,
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        timeout=60,
    )
    assert done.stdout.split() == ["b"] * 99
    assert not done.stderr


def test_children_end_with_their_parent():
    code = "import time\nfrom fastrec import children, engine\nprint(list(engine.map_items(time.sleep, [0])))\n"
    code += "print(children._idle[0].process.pid, flush=True)\ntime.sleep(60)"
    parent = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, cwd=ROOT)
    assert parent.stdout.readline() == "[None]\n"
    child = int(parent.stdout.readline())
    parent.kill()
    parent.wait()
    parent.stdout.close()
    for _ in range(100):
        if not Path(f"/proc/{child}").exists():
            break
        time.sleep(0.1)
    assert not Path(f"/proc/{child}").exists()


def test_workers_are_what_this_process_may_use():
    assert 1 <= engine.workers() <= (os.cpu_count() or 1)


def test_progress_passes_everything_on(capsys):
    assert list(engine.progress(iter("abc"), 3, "letters")) == ["a", "b", "c"]
