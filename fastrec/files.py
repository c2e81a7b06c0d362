"""Files that survive a kill and a full disk: atomic writing, checksums and the one-writer lock."""

from __future__ import annotations

import errno
import fcntl
import functools
import hashlib
import json
import os
import re
import shutil
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


class FastrecError(Exception):
    """A fault the user can mend: one sentence that names the file or field and the cure."""

    def __init__(self, sentence: str) -> None:
        super().__init__(sentence)
        self.sentence = sentence

    def __str__(self) -> str:  # fastai rewrites the arguments of what its callbacks raise
        return self.sentence


@contextmanager
def replacing(target: Path) -> Iterator[Path]:
    """Yield a temporary path beside ``target`` that takes its place when the block ends well.

    The body may make a file or a folder there.  Until the final rename the old file stays whole, so
    a kill, an exception or a full disk in the middle loses nothing.

    Raises
    ------
    FastrecError
        If the disk is full or the folder is not writable; the old file is kept.
    """
    temporary = target.with_name(f"{_stem(target)}.{os.getpid()}.{threading.get_ident()}.tmp")
    try:
        with naming_disk_faults(target):
            target.parent.mkdir(parents=True, exist_ok=True)
            _clear_leftovers(target, temporary)
            yield temporary
            for path in [temporary, *temporary.rglob("*")] if temporary.is_dir() else [temporary]:
                _sync(path)
            _swap(temporary, target)
            _sync(target.parent)
    finally:
        _remove(temporary)


@contextmanager
def naming_disk_faults(target: Path) -> Iterator[None]:
    """Say in one sentence what keeps a file from being written: a full disk, or a folder that may not be written."""
    try:
        yield
    except FastrecError:
        raise
    except Exception as error:
        if fault := _disk_fault(error, target):
            raise FastrecError(f"{target} was not written, what was there is kept: {fault}.") from error
        raise


def _clear_leftovers(target: Path, temporary: Path) -> None:
    """Remove what killed writers of ``target`` left behind, so that kills do not fill the disk."""
    _remove(temporary)
    for path in _leftovers(target.parent, time.monotonic() // 60).get(_stem(target), ()):
        if not _is_alive(int(path.name.split(".")[-3])):
            _remove(path)


@functools.lru_cache(maxsize=256)
def _leftovers(folder: Path, _minute: float) -> dict[str, list[Path]]:
    """Find a folder's temporary files by stem, once a minute: many files are written to one folder."""
    found: dict[str, list[Path]] = {}
    for name in os.listdir(folder):  # noqa: PTH208 (half the time)
        if match := re.fullmatch(r"(\..*)\.\d+\.\d+\.tmp", name, re.DOTALL):
            found.setdefault(match[1], []).append(folder / name)
    return found


def _stem(target: Path) -> str:
    """Return how a temporary file's name begins: of a long name its checksum, as the whole must be a name too."""
    name = target.name
    return f".{name if len(name) <= 50 else hashlib.sha256(os.fsencode(name)).hexdigest()}"


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)  # signal 0 asks only
    except ProcessLookupError:
        return False
    except PermissionError:  # somebody else's
        pass
    return True


def _disk_fault(error: Exception, target: Path) -> str:
    """Return what the disk refused and the cure, or nothing where the disk is not to blame."""
    number, folder = getattr(error, "errno", None), next(p for p in target.parents if p.is_dir())
    free = shutil.disk_usage(folder).free
    # NumPy, torch and safetensors each report a full disk in their own way, and without its errno
    if number in (errno.ENOSPC, errno.EDQUOT) or "No space left" in str(error) or free < 2**16:
        return f"the disk is full ({free / 1e6:.0f} MB free), make room and run again"
    where = getattr(error, "filename", None)
    if where and number in (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EEXIST):
        where = Path(os.fsdecode(where))
        if target.is_relative_to(where) or where.is_relative_to(target.parent):
            return f"{os.strerror(number).lower()} at {where}, mend it or set FASTREC_HOME to another folder"
    return ""


def _swap(temporary: Path, target: Path) -> None:
    backup = _backup(target)
    while True:
        if target.is_dir():
            _remove(backup)
            target.rename(backup)
        try:
            temporary.replace(target)
            break
        except OSError as error:  # a reader's recover() came between the two renames: once more
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise
    _remove(backup)


def _backup(target: Path) -> Path:
    return target.with_name(f".{target.name}.old")


def recover(target: Path) -> None:
    """Bring a folder back whose replacement was killed between the two renames."""
    if not target.exists() and _backup(target).is_dir():
        with suppress(OSError):  # its writer lives and was faster
            _backup(target).rename(target)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _remove(path: Path) -> None:
    if os.path.isdir(path) and not path.is_symlink():  # noqa: PTH112 (no name is too long for it)
        shutil.rmtree(path)
    elif os.path.lexists(path):
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
            digest.update(os.fsencode(file.relative_to(path)) + f"\0{checksum(file)}\n".encode())
        return digest.hexdigest()
    status = path.stat()
    return _checksum(path, (status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns))


@functools.lru_cache(maxsize=4096)
def _checksum(path: Path, _state: tuple[int, ...]) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


# POSIX locks belong to the process, and closing any descriptor of the file gives the lock away:
# one descriptor per file, kept open.  A forked child holds none of them.
_held: dict[Path, int] = {}
os.register_at_fork(after_in_child=_held.clear)


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
        If another process still holds it: names its pid, host and start; or if the file cannot be
        made or locked.
    """
    path = path.resolve()
    if path in _held and _is_open_as(path, _held[path]):
        return
    unlock(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        taken = _wait(descriptor, time.monotonic() + patience)
    except OSError as error:
        reason = error.strerror
        raise FastrecError(f"{path} cannot be locked ({reason}): set FASTREC_HOME to another folder.") from error
    if not taken:
        holder = _holder(descriptor)
        os.close(descriptor)
        raise FastrecError(f"{path.parent} is in use by {holder}; wait for it, or end that process.")
    mine = {"pid": os.getpid(), "host": socket.gethostname(), "since": time.strftime("%F %T")}
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, json.dumps(mine).encode(), 0)
    _held[path] = descriptor


def unlock(path: Path) -> None:
    """Let go of a lock held by this process; nothing happens when it holds none."""
    if (path := path.resolve()) in _held:
        os.close(_held.pop(path))


def _wait(descriptor: int, deadline: float) -> bool:
    """Try to lock until the deadline; say whether it worked."""
    while True:
        try:
            fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except (BlockingIOError, PermissionError):  # held by another: POSIX allows either errno
            if time.monotonic() >= deadline:
                return False
        time.sleep(0.1)


def _is_open_as(path: Path, descriptor: int) -> bool:
    """Say whether ``descriptor`` is the file at ``path``, which may have been deleted and made anew."""
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except OSError:
        return False


def _holder(descriptor: int) -> str:
    try:
        holder = json.loads(os.pread(descriptor, 4096, 0))
        return f"process {holder['pid']} on {holder['host']} since {holder['since']}"
    except (ValueError, KeyError, TypeError):
        return "another process"
