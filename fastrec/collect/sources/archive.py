"""``archive:PATH``: a zip or tar file of class folders, unpacked once below ``data/archives``."""

from __future__ import annotations

import errno
import lzma
import os
import posixpath
import shutil
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import IO

from fastrec import engine, files
from fastrec.collect.sources import Listing, folder
from fastrec.files import FastrecError

MAX_FILES = 5_000_000
MAX_BYTES = 500 * 2**30
MAX_RATIO = 100  # unpacked over packed, for what unpacks to more than BOMB
BOMB = 256 * 2**20
PATIENCE = 600.0  # seconds to wait for another process that unpacks
_DAMAGE = (
    zipfile.BadZipFile,
    tarfile.TarError,
    zlib.error,
    lzma.LZMAError,
    EOFError,
    RuntimeError,
    ValueError,
    OSError,
)


@dataclass(frozen=True)
class _Member:
    name: str
    size: int
    open: Callable[[], IO[bytes]]


def listing(archive: Path, below: Path) -> Listing:
    """Unpack an archive into a folder named by its checksum and list that folder.

    A killed extraction continues with the members that are not yet there.  Of two members of one name
    in a tar file the later counts.  One folder that holds all others is stepped into.

    Raises
    ------
    FastrecError
        If it is no zip or tar file, is damaged, needs a password, or a member would be written outside,
        is a link or a device, lies where another needs a folder, or unpacks to far more than an archive
        of its size should: names the member.  If another process unpacks for over ten minutes.
    """
    target = _target(archive, below)
    if not target.is_dir():
        files.lock(below / ".lock", PATIENCE)
        try:
            if not target.is_dir():  # it was not unpacked while this process waited
                _extract(archive, target)
        finally:
            files.unlock(below / ".lock")
    return folder.listing(innermost(target))


def present(archive: Path, below: Path) -> Listing:
    """List what of an archive is unpacked now; an archive with other contents is another one."""
    target = _target(archive, below)
    return folder.listing(innermost(target)) if target.is_dir() else Listing([], [])


def _target(archive: Path, below: Path) -> Path:
    if not os.path.isfile(archive):  # noqa: PTH113 (bears any name)
        raise FastrecError(f"{archive} is not there: check the source's path.")
    try:
        return below / files.checksum(archive)[:16]
    except OSError as error:
        raise FastrecError(f"{archive} cannot be read ({error.strerror}): check its mode.") from error


def _extract(archive: Path, target: Path) -> None:
    unfinished = target.with_name(f".{target.name}.partial")
    try:
        with _members(archive) as found:
            listed = engine.progress(found, None, "read the archive", unit="file")
            members = {posixpath.normpath(member.name): member for member in listed}
            _check(archive, members)
            unfinished.mkdir(exist_ok=True)
            for name, member in engine.progress(members.items(), len(members), "unpack", unit="file"):
                _write(archive, member, unfinished / name)
    except _DAMAGE as error:
        # the disk's fault, not the archive's, unless damage leads to a place before its beginning
        if isinstance(error, OSError) and error.errno not in (None, errno.EINVAL):
            raise FastrecError(f"{archive} cannot be unpacked ({error}): mend that and run again.") from error
        shutil.rmtree(unfinished, ignore_errors=True)
        raise FastrecError(f"{archive} cannot be unpacked ({error}): get the archive again.") from error
    unfinished.rename(target)


@contextmanager
def _members(archive: Path) -> Iterator[Iterator[_Member]]:
    if zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as packed:
            yield _in_zip(archive, packed)
    elif tarfile.is_tarfile(archive):
        with tarfile.open(archive) as tar:
            yield _in_tar(archive, tar)
    else:
        raise FastrecError(f"{archive} is neither a zip nor a tar file, or damaged: get it again, or pack it anew.")


def _in_zip(archive: Path, packed: zipfile.ZipFile) -> Iterator[_Member]:
    _check_list(archive, packed)
    for info in packed.infolist():
        kind = stat.S_IFMT(info.external_attr >> 16)
        _check_name(archive, info.filename, kind not in (0, stat.S_IFREG, stat.S_IFDIR))
        name = info.filename.replace("\\", "/")  # as some packers of Windows write
        if not name.endswith("/") or info.file_size:
            yield _Member(name, info.file_size, partial(packed.open, info))


def _check_list(archive: Path, packed: zipfile.ZipFile) -> None:
    """Compare a zip file's list of members with itself: a damaged name or length in it hides others."""
    names = packed.namelist()
    with archive.open("rb") as stream:
        stream.seek(-22 - len(packed.comment), os.SEEK_END)
        end = stream.read(12)
    told = int.from_bytes(end[10:], "little")  # 16 bits; where they do not suffice they are all 1, or cut
    if end.startswith(b"PK\5\6") and told not in (2**16 - 1, len(names) % 2**16):
        raise zipfile.BadZipFile(f"it lists {len(names)} of {told} members")
    told_of = {(info.filename, info.file_size, info.CRC) for info in packed.infolist()}
    if len(set(names)) < len(told_of):
        raise zipfile.BadZipFile("it lists two members of one name")


def _in_tar(archive: Path, tar: tarfile.TarFile) -> Iterator[_Member]:
    end = 0
    for entry in tar:
        if tar.offset <= end:  # a negative size would lead round for ever
            raise tarfile.ReadError(f"damaged at {entry.name!r}")
        end = tar.offset
        _check_name(archive, entry.name, not (entry.isreg() or entry.isdir()))
        if entry.isreg():
            yield _Member(entry.name, entry.size, partial(_open_entry, tar, entry))
    _check_end(tar)


def _check_end(tar: tarfile.TarFile) -> None:
    """Read to the end, where a compressed file's checksum stands: tarfile takes a damaged header for the end."""
    assert tar.fileobj is not None
    tar.fileobj.seek(tar.offset)
    length = 0
    while block := tar.fileobj.read(2**20):
        length += len(block)
        if block.strip(b"\0") or length > BOMB:
            raise tarfile.ReadError(f"what follows byte {tar.offset:,} is neither a member nor the end")
    if not length:
        raise tarfile.ReadError("its end is missing")


def _open_entry(tar: tarfile.TarFile, entry: tarfile.TarInfo) -> IO[bytes]:
    opened = tar.extractfile(entry)
    assert opened is not None  # regular files have content
    return opened


def _check_name(archive: Path, name: str, special: bool) -> None:
    path = PurePosixPath(name.replace("\\", "/"))
    if path.is_absolute() or ".." in path.parts or ":" in path.parts[0:1] or "\0" in name:
        raise FastrecError(f"{archive} member {name!r} would be written outside its folder: get an honest archive.")
    if special:
        raise FastrecError(f"{archive} member {name!r} is a link or a device: pack regular files only.")


def _check(archive: Path, members: dict[str, _Member]) -> None:
    if both := sorted(members.keys() & _folders(members)):
        raise FastrecError(f"{archive} member {both[0]!r} is a file and a folder at once: rename one and pack again.")
    total, packed = sum(member.size for member in members.values()), archive.stat().st_size
    if len(members) > MAX_FILES or total > MAX_BYTES or (total > BOMB and total > MAX_RATIO * packed):
        largest = max(members.values(), key=lambda member: member.size).name
        raise FastrecError(
            f"{archive} ({packed:,} bytes) unpacks to {total:,} bytes in {len(members):,} files, most of it "
            f"{largest!r}: this looks like a bomb; unpack it yourself and use folder:."
        )
    if total > (free := shutil.disk_usage(archive.parent).free):
        raise FastrecError(f"{archive} needs {total:,} bytes unpacked, but {free:,} are free: free some space.")


def _folders(names: Iterable[str]) -> set[str]:
    """Return all folders that files need; the one that the files are unpacked to is ``.``."""
    folders = {"."}
    for name in names:
        above = posixpath.dirname(name)
        while above and above not in folders:
            folders.add(above)
            above = posixpath.dirname(above)
    return folders


def _write(archive: Path, member: _Member, path: Path) -> None:
    """Write one member whole, unless an earlier extraction already did; never more than it announced."""
    try:
        if path.is_file() and path.stat().st_size == member.size:
            return
    except OSError as error:  # who first uses a name learns that it is too long
        why = f"cannot be written ({error.strerror}): give it another name and pack again."
        raise FastrecError(f"{archive} member {member.name!r} {why}") from error
    with files.replacing(path) as temporary, member.open() as source, temporary.open("wb") as sink:
        left = member.size
        while block := source.read(min(2**20, left + 1)):
            left -= len(block)
            if left < 0:
                break
            sink.write(block)
        if left:
            raise ValueError(f"{member.name!r} is not as long as announced")


def innermost(root: Path) -> Path:
    """Step through folders that hold nothing but one folder, unless that one already is a class of pictures."""
    inside = [child for child in root.iterdir() if not child.name.startswith(folder.HIDDEN)]
    if len(inside) == 1 and inside[0].is_dir() and any(child.is_dir() for child in inside[0].iterdir()):
        names = folder.SPLIT_NAMES
        return root if inside[0].name.lower() in names else innermost(inside[0])
    return root
