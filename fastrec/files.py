"""Files that survive a kill and a full disk: atomic writing, checksums and the one-writer lock."""

from __future__ import annotations

import errno
import fcntl
import functools
import hashlib
import json
import os
import shutil
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class FastrecError(Exception):
    """A fault the user can mend: one sentence that names the file or field and the cure."""


@contextmanager
def replacing(target: Path) -> Iterator[Path]:
    """Yield a temporary path beside ``target`` that takes its place when the block ends well.

    The body may make a file or a folder there.  Until the final rename the old file stays whole, so
    a kill, an exception or a full disk in the middle loses nothing.

    Raises
    ------
    FastrecError
        If the disk is full; the old file is kept.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    try:
        yield temporary
        for path in [temporary, *temporary.rglob("*")] if temporary.is_dir() else [temporary]:
            _sync(path)
        _swap(temporary, target)
        _sync(target.parent)
    except OSError as error:
        if error.errno == errno.ENOSPC:
            free = shutil.disk_usage(target.parent).free
            raise FastrecError(
                f"{target} was not written: the disk is full ({free / 1e6:.0f} MB free); "
                "free some space and run again, the old file is kept."
            ) from error
        raise
    finally:
        _remove(temporary)


def _swap(temporary: Path, target: Path) -> None:
    if not target.is_dir():
        os.replace(temporary, target)
        return
    backup = target.with_name(f".{target.name}.old")
    _remove(backup)
    os.rename(target, backup)
    os.rename(temporary, target)
    _remove(backup)


def recover(target: Path) -> None:
    """Bring a folder back whose replacement was killed between the two renames."""
    backup = target.with_name(f".{target.name}.old")
    if backup.is_dir() and not target.exists():
        os.rename(backup, target)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def write_text(target: Path, text: str) -> None:
    """Write ``text`` as UTF-8 so that readers see the old file or the new one, never a part."""
    with replacing(target) as temporary:
        temporary.write_text(text, encoding="utf-8")


def checksum(path: Path) -> str:
    """Return the sha256 of a file, or of a folder's files and their names, as hexadecimal text."""
    if path.is_dir():
        digest = hashlib.sha256()
        for file in sorted(p for p in path.rglob("*") if p.is_file()):
            digest.update(f"{file.relative_to(path)}\0{checksum(file)}\n".encode())
        return digest.hexdigest()
    status = path.stat()
    return _checksum(path, status.st_size, status.st_mtime_ns)


@functools.lru_cache(maxsize=4096)
def _checksum(path: Path, _size: int, _modified: int) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


_held: dict[Path, int] = {}  # POSIX locks belong to the process: one descriptor each, kept open


def lock(path: Path, patience: float = 0.0) -> None:
    """Hold ``path`` as the only writer until :func:`unlock` or the end of this process.

    ``lockf`` rather than ``flock``: forked loader workers would inherit the latter and keep a dead
    run locked.

    Parameters
    ----------
    path
        The lock file; who holds it is written inside.
    patience
        Seconds to wait for another process to let go.

    Raises
    ------
    FastrecError
        If another process still holds it: names its pid, host and start.
    """
    if path in _held:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    deadline = time.monotonic() + patience
    while True:
        try:
            fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            break
        except OSError:
            if time.monotonic() >= deadline:
                holder = _holder(descriptor)
                os.close(descriptor)
                raise FastrecError(
                    f"{path.parent} is in use by {holder}; wait for it, or end that process."
                ) from None
            time.sleep(0.1)
    holder = {"pid": os.getpid(), "host": socket.gethostname(), "since": time.strftime("%F %T")}
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, json.dumps(holder).encode(), 0)
    _held[path] = descriptor


def unlock(path: Path) -> None:
    """Let go of a lock held by this process; nothing happens when it holds none."""
    if path in _held:
        os.close(_held.pop(path))


def _holder(descriptor: int) -> str:
    try:
        holder = json.loads(os.pread(descriptor, 4096, 0))
        return f"process {holder['pid']} on {holder['host']} since {holder['since']}"
    except (ValueError, KeyError):
        return "another process"
