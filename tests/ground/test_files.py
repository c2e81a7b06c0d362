"""Files survive kills and full disks, checksums see every change, and a run has one writer."""

from __future__ import annotations

import errno
import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastrec import files
from fastrec.files import FastrecError


def spawn(code: str, *arguments: object) -> subprocess.Popen:
    """Start a Python process with fastrec's files module at hand; its standard output is a pipe."""
    head = "import sys, time, os; from pathlib import Path; from fastrec import files\n"
    return subprocess.Popen(
        [sys.executable, "-c", head + code, *map(str, arguments)], stdout=subprocess.PIPE, text=True
    )


def hidden(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir() if path.name.startswith(".")]


# ---------------------------------------------------------------------------- replacing


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=50))
def test_text_comes_back_as_it_was_written(tmp_path_factory, text):
    path = tmp_path_factory.mktemp("text") / "new" / "file.txt"
    files.write_text(path, text)
    assert path.read_bytes().decode() == text
    assert not hidden(path.parent)


def test_an_exception_keeps_the_old_file_and_leaves_no_other(tmp_path):
    path = tmp_path / "file"
    files.write_text(path, "old")

    def fail():
        with files.replacing(path) as temporary:
            temporary.write_text("half of the")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert path.read_text() == "old"
    assert not hidden(tmp_path)


def test_a_reader_never_sees_a_part(tmp_path):
    path = tmp_path / "file"
    files.write_text(path, "old")
    with files.replacing(path) as temporary:
        temporary.write_text("half of the")
        assert path.read_text() == "old"
        temporary.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"


@pytest.mark.skipif(sys.platform != "linux", reason="names of descriptors come from /proc")
def test_content_reaches_the_disk_before_the_name_and_the_name_before_the_end(tmp_path, monkeypatch):
    steps = []
    synced, replaced = os.fsync, Path.replace
    monkeypatch.setattr(os, "fsync", lambda fd: (steps.append(Path(f"/proc/self/fd/{fd}").resolve().name), synced(fd)))
    monkeypatch.setattr(Path, "replace", lambda a, b: (steps.append("replace"), replaced(a, b)))
    with files.replacing(tmp_path / "folder") as temporary:
        temporary.mkdir()
        (temporary / "weights").write_text("w")
        name = temporary.name
    assert set(steps[:2]) == {name, "weights"}
    assert steps[2:] == ["replace", tmp_path.name]


WRITER = """
path, k = Path(sys.argv[1]), int(sys.argv[2])
while True:
    with files.replacing(path) as temporary:
        with temporary.open("w") as stream:
            for _ in range(64):
                stream.write(f"{k:08d}" * 64)
                stream.flush()
    k += 1
    print("replaced", flush=True)
"""


def test_a_killed_writer_leaves_the_old_or_the_new_content_never_a_part(tmp_path):
    path, chance = tmp_path / "file", random.Random(0)
    for start in range(0, 12_000_000, 1_000_000):
        writer = spawn(WRITER, path, start)
        writer.stdout.readline()
        time.sleep(chance.uniform(0, 0.03))
        writer.kill()
        writer.communicate()
        content = path.read_text()
        assert len(content) == 8 * 64 * 64
        assert len({content[k : k + 8] for k in range(0, len(content), 8)}) == 1
        assert int(content[:8]) >= start
    files.write_text(path, "done")
    assert not hidden(tmp_path), "the next writer clears what killed ones left"


FOLDER_WRITER = """
path, k = Path(sys.argv[1]), 0
while k := k + 1:
    with files.replacing(path) as temporary:
        temporary.mkdir()
        for name in "abc":
            (temporary / name).write_text(str(k))
    print("replaced", flush=True)
"""


def test_a_killed_folder_writer_leaves_one_whole_folder(tmp_path):
    path, chance = tmp_path / "model", random.Random(1)
    for _ in range(8):
        writer = spawn(FOLDER_WRITER, path)
        writer.stdout.readline()
        time.sleep(chance.uniform(0, 0.03))
        writer.kill()
        writer.communicate()
        files.recover(path)
        assert len({(path / name).read_text() for name in "abc"}) == 1


@pytest.mark.parametrize("renames", [1, 2])
def test_a_kill_between_the_two_renames_is_mended(tmp_path, monkeypatch, renames):
    path = tmp_path / "model"

    def write(content):
        with files.replacing(path) as temporary:
            temporary.mkdir()
            (temporary / "weights").write_text(content)

    write("old")
    taken = []

    def interrupted(original):
        def rename(source, target):
            if len(taken) == renames - 1:
                raise KeyboardInterrupt  # stands for the kill: nothing after it happens but the clean-up
            taken.append(source)
            return original(source, target)

        return rename

    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", interrupted(Path.rename))
        patch.setattr(Path, "replace", interrupted(Path.replace))
        with pytest.raises(KeyboardInterrupt):
            write("new")
    assert path.exists() == (renames == 1)
    files.recover(path)
    assert (path / "weights").read_text() == "old"
    write("new")
    assert (path / "weights").read_text() == "new"
    assert not hidden(tmp_path)


def test_a_writer_outlives_a_reader_that_recovers_in_between(tmp_path, monkeypatch):
    path, rename = tmp_path / "model", Path.rename
    path.mkdir()
    (path / "weights").write_text("old")

    def meddle(source, target):
        rename(source, target)
        monkeypatch.setattr(Path, "rename", rename)
        files.recover(path)  # another process's reader, at the worst moment

    monkeypatch.setattr(Path, "rename", meddle)
    with files.replacing(path) as temporary:
        temporary.mkdir()
        (temporary / "weights").write_text("new")
    assert (path / "weights").read_text() == "new"
    assert not hidden(tmp_path)


def test_a_half_written_folder_of_an_earlier_process_with_the_same_number_is_not_mixed_in(tmp_path):
    path = tmp_path / "model"
    with files.replacing(path) as temporary:
        temporary.mkdir()
    stale = path.with_name(temporary.name)
    stale.mkdir()
    (stale / "stale").write_text("")
    with files.replacing(path) as temporary:
        temporary.mkdir()
        (temporary / "weights").write_text("")
    assert [entry.name for entry in path.iterdir()] == ["weights"]


def test_leftovers_of_the_living_and_of_other_files_stay(tmp_path):
    living, other = tmp_path / f".file.{os.getppid()}.1.tmp", tmp_path / ".file2.999999999.1.tmp"
    dead = tmp_path / ".file.999999999.1.tmp"
    for path in (living, other, dead):
        path.write_text("")
    files.write_text(tmp_path / "file", "")
    assert living.exists()
    assert other.exists()
    assert not dead.exists()


@pytest.mark.parametrize("name", ["n" * 255, "ü" * 127])
def test_a_name_may_be_as_long_as_names_may_be(tmp_path, name):
    for text in ("old", "new"):
        files.write_text(tmp_path / name, text)
        assert (tmp_path / name).read_text() == text
    assert not hidden(tmp_path)


def test_long_names_that_begin_alike_are_written_inside_each_other(tmp_path):
    with files.replacing(tmp_path / ("n" * 100 + "1")) as one, files.replacing(tmp_path / ("n" * 100 + "2")) as two:
        one.write_text("1")
        two.write_text("2")
    assert (tmp_path / ("n" * 100 + "1")).read_text() == "1"


def test_what_a_killed_writer_of_a_long_name_left_is_removed(tmp_path):
    with files.replacing(tmp_path / ("n" * 200)) as temporary:
        temporary.write_text("")
    dead = tmp_path / "other" / temporary.name.replace(f".{os.getpid()}.", ".999999999.")
    dead.parent.mkdir()
    dead.write_text("")
    files.write_text(dead.parent / ("n" * 200), "")
    assert not dead.exists()


def test_the_time_to_write_a_file_does_not_grow_with_its_folder(tmp_path, monkeypatch):
    listed = []
    for name in ("listdir", "scandir"):
        listing = getattr(os, name)
        monkeypatch.setattr(os, name, lambda path, listing=listing: (listed.append(path), listing(path))[1])
    for k in range(50):
        files.write_text(tmp_path / str(k), "")
    assert len(listed) <= 2, "a folder is searched for leftovers once a minute"


# --------------------------------------------------------------------------- full disks


@pytest.fixture
def small_disk(tmp_path):
    """Mount a disk of one megabyte."""
    folder = tmp_path / "disk"
    folder.mkdir()
    call = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)]
    if os.geteuid() or subprocess.run(call, capture_output=True, check=False).returncode:
        pytest.skip("mounting a small disk needs root and the permission to mount")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def by_text(path):
    path.write_bytes(b"x" * 2**21)


def by_numpy(path):
    import numpy as np

    with path.open("wb") as stream:
        np.zeros(2**21, np.uint8).tofile(stream)


def by_parquet(path):
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.table({"a": [os.urandom(2**21)]}), path)


def by_safetensors(path):
    import numpy as np
    from safetensors.numpy import save_file

    save_file({"weight": np.zeros(2**21, np.uint8)}, path)


@pytest.mark.parametrize("write", [by_text, by_numpy, by_parquet, by_safetensors])
def test_a_full_disk_keeps_the_old_file_and_is_named(small_disk, write):
    path = small_disk / "file"
    files.write_text(path, "old")
    with pytest.raises(FastrecError, match=r"file was not written.* disk is full \(\d+ MB free\), make room") as caught:  # noqa: SIM117
        with files.replacing(path) as temporary:
            write(temporary)
    assert "\n" not in str(caught.value)
    assert path.read_text() == "old"
    assert not hidden(small_disk)
    files.write_text(path, "new")
    assert path.read_text() == "new"


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
@pytest.mark.parametrize("call", ["fsync", "open"])
def test_a_disk_that_fills_while_closing_keeps_the_old_file(tmp_path, monkeypatch, number, call):
    files.write_text(tmp_path / "file", "old")

    def full(*arguments):
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patch:
        patch.setattr(os, call, full)
        with pytest.raises(FastrecError, match="disk is full"):
            files.write_text(tmp_path / "file", "new")
    assert (tmp_path / "file").read_text() == "old"


def test_a_folder_that_cannot_be_made_is_named_with_its_cure(tmp_path):
    (tmp_path / "runs").write_text("a file where the folder belongs")
    with pytest.raises(FastrecError, match=r"runs.*FASTREC_HOME"):
        files.write_text(tmp_path / "runs" / "digits" / "stage.json", "{}")


def test_faults_of_other_files_are_not_blamed_on_the_target(tmp_path):
    with pytest.raises(FileNotFoundError), files.replacing(tmp_path / "file") as temporary:
        temporary.write_text((tmp_path / "input").read_text())
    with pytest.raises(FastrecError, match=r"^mine$"), files.replacing(tmp_path / "file") as temporary:
        raise FastrecError("mine")


# ---------------------------------------------------------------------------- checksums


@given(st.binary(min_size=1, max_size=200), st.data())
def test_a_flipped_bit_changes_the_checksum_even_at_the_same_size_and_time(tmp_path_factory, content, data):
    path = tmp_path_factory.mktemp("sum") / "file"
    path.write_bytes(content)
    os.utime(path, ns=(10**18, 10**18))
    before = files.checksum(path)
    changed = bytearray(content)
    changed[data.draw(st.integers(0, len(content) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    files.write_text(path, "")  # another file of that name ...
    path.write_bytes(changed)
    os.utime(path, ns=(10**18, 10**18))  # ... with a forged time
    assert files.checksum(path) != before
    path.write_bytes(content)
    assert files.checksum(path) == before


def test_a_change_in_place_under_a_forged_time_is_seen(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"old")
    os.utime(path, ns=(10**18, 10**18))
    before = files.checksum(path)
    time.sleep(0.05)  # more than a tick of the file system's clock
    with path.open("r+b") as stream:
        stream.write(b"new")
    os.utime(path, ns=(10**18, 10**18))
    assert files.checksum(path) != before


def test_a_folders_checksum_knows_names_contents_and_places(tmp_path):
    def folder(name, **contents):
        for path, text in contents.items():
            target = tmp_path / name / path.replace("__", "/")
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(text)
        return files.checksum(tmp_path / name)

    first = folder("one", a="1", b="2")
    assert folder("two", b="2", a="1") == first
    assert (
        len({first, folder("three", a="2", b="1"), folder("four", a="1", c="2"), folder("five", a="1", d__b="2")}) == 4
    )


def test_names_that_are_not_utf8_have_checksums_too(tmp_path):
    (tmp_path / os.fsdecode(b"\xff")).write_text("")
    one = files.checksum(tmp_path)
    (tmp_path / os.fsdecode(b"\xff")).rename(tmp_path / os.fsdecode(b"\xfe"))
    assert files.checksum(tmp_path) != one


# -------------------------------------------------------------------------------- locks

HOLDER = """
files.lock(Path(sys.argv[1]))
print("held", flush=True)
time.sleep(60)
"""


@pytest.fixture
def holder(tmp_path):
    """Start a process that holds ``tmp_path/lock``."""
    process = spawn(HOLDER, tmp_path / "lock")
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.communicate()


def test_a_second_process_is_refused_and_told_who_holds(tmp_path, holder):
    with pytest.raises(FastrecError, match=f"process {holder.pid} on {socket.gethostname()} since 20") as caught:
        files.lock(tmp_path / "lock")
    assert str(tmp_path) in str(caught.value)
    with pytest.raises(FastrecError):
        files.lock(tmp_path / "lock", patience=0.3)


def test_a_killed_holder_lets_go(tmp_path, holder):
    os.kill(holder.pid, signal.SIGKILL)
    files.lock(tmp_path / "lock", patience=5.0)
    assert json.loads((tmp_path / "lock").read_text())["pid"] == os.getpid()
    files.unlock(tmp_path / "lock")


def refused_elsewhere(path: Path) -> bool:
    """Say whether another process is refused this lock."""
    code = "try: files.lock(Path(sys.argv[1])); print('taken')\nexcept files.FastrecError: print('refused')"
    return spawn(code, path).communicate()[0].strip() == "refused"


def test_the_same_process_may_lock_twice_and_by_another_name(tmp_path):
    path = tmp_path / "run" / "lock"
    files.lock(path)
    (tmp_path / "alias").symlink_to(tmp_path / "run")
    files.lock(tmp_path / "alias" / "lock")
    files.lock(path)
    assert refused_elsewhere(path), "a second descriptor of the file was closed, which gives a POSIX lock away"
    files.unlock(tmp_path / "alias" / "lock")
    assert not refused_elsewhere(path)
    files.unlock(path)


def test_a_lock_file_that_was_deleted_is_made_and_held_anew(tmp_path):
    path = tmp_path / "lock"
    files.lock(path)
    path.unlink()
    files.lock(path)
    assert refused_elsewhere(path)
    files.unlock(path)


def test_a_forked_child_holds_no_lock_and_takes_none_away(tmp_path):
    path = tmp_path / "lock"
    script = f"""
path = Path({str(path)!r})
files.lock(path)
if not (child := os.fork()):
    try:
        files.lock(path)
    except files.FastrecError:
        files.unlock(path)
        os._exit(7)
    os._exit(0)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
time.sleep(60)
"""
    parent = spawn(script)
    assert parent.stdout.readline() == "7\n"
    assert refused_elsewhere(path)
    parent.kill()
    parent.communicate()


def test_a_torn_lock_file_still_locks(tmp_path, holder):
    (tmp_path / "lock").write_text('{"pid": 1')
    with pytest.raises(FastrecError, match="in use by another process"):
        files.lock(tmp_path / "lock")


def test_a_lock_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "runs").write_text("")
    with pytest.raises(FastrecError, match=r"runs.*cannot be locked.*FASTREC_HOME"):
        files.lock(tmp_path / "runs" / "digits" / "lock")


def test_a_file_system_without_locks_is_not_mistaken_for_another_writer(tmp_path, monkeypatch):
    def no_locks(*arguments):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(files.fcntl, "lockf", no_locks)
    with pytest.raises(FastrecError, match=r"cannot be locked \(No locks available\)"):
        files.lock(tmp_path / "lock")
