"""``archive:PATH``: a zip or tar file of class folders, unpacked once below ``data/archives``."""

from __future__ import annotations

import shutil
import stat
import tarfile
import zipfile
from collections.abc import Callable, Iterator
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


@dataclass(frozen=True)
class _Member:
    name: str
    size: int
    open: Callable[[], IO[bytes]]


def listing(archive: Path, below: Path) -> Listing:
    """Unpack an archive into a folder named by its checksum and list that folder.

    A killed extraction continues with the members that are not yet there.  One folder that holds all
    others is stepped into.

    Raises
    ------
    FastrecError
        If it is no zip or tar file, needs a password, or a member would be written outside, is a link
        or a device, or unpacks to far more than an archive of its size should: names the member.
    """
    if not archive.is_file():
        raise FastrecError(f"{archive} is not there: check the source's path.")
    target = below / files.checksum(archive)[:16]
    if not target.is_dir():
        _extract(archive, target)
    return folder.listing(innermost(target))


def _extract(archive: Path, target: Path) -> None:
    partial = target.with_name(f".{target.name}.partial")
    partial.mkdir(parents=True, exist_ok=True)
    try:
        members = list(_members(archive))
        _check(archive, members)
        for member in engine.progress(members, len(members), "unpack", unit="file"):
            _write(archive, member, partial / member.name)
    except (zipfile.BadZipFile, tarfile.TarError, EOFError, RuntimeError, ValueError) as error:
        raise FastrecError(f"{archive} cannot be unpacked ({error}): get the archive again.") from error
    partial.rename(target)


def _members(archive: Path) -> Iterator[_Member]:
    if zipfile.is_zipfile(archive):
        packed = zipfile.ZipFile(archive)
        for info in packed.infolist():
            kind = stat.S_IFMT(info.external_attr >> 16)
            _check_name(archive, info.filename, kind not in (0, stat.S_IFREG, stat.S_IFDIR))
            if not info.is_dir():
                yield _Member(info.filename, info.file_size, partial(packed.open, info))
    elif tarfile.is_tarfile(archive):
        tar = tarfile.open(archive)  # noqa: SIM115 (open while its members are read)
        for entry in tar:
            _check_name(archive, entry.name, not (entry.isreg() or entry.isdir()))
            if entry.isreg():
                yield _Member(entry.name, entry.size, partial(_open_entry, tar, entry))
    else:
        raise FastrecError(f"{archive} is neither a zip nor a tar file: pack the pictures as one of them.")


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


def _check(archive: Path, members: list[_Member]) -> None:
    total, packed = sum(member.size for member in members), archive.stat().st_size
    if len(members) > MAX_FILES or total > MAX_BYTES or (total > BOMB and total > MAX_RATIO * packed):
        largest = max(members, key=lambda member: member.size).name
        raise FastrecError(
            f"{archive} ({packed:,} bytes) unpacks to {total:,} bytes in {len(members):,} files, most of it "
            f"{largest!r}: this looks like a bomb; unpack it yourself and use folder:."
        )
    if total > (free := shutil.disk_usage(archive.parent).free):
        raise FastrecError(f"{archive} needs {total:,} bytes unpacked, but {free:,} are free: free some space.")


def _write(archive: Path, member: _Member, path: Path) -> None:
    """Write one member whole, unless an earlier extraction already did; never more than it announced."""
    if path.is_file() and path.stat().st_size == member.size:
        return
    with files.replacing(path) as temporary, member.open() as source, temporary.open("wb") as sink:
        left = member.size
        while block := source.read(min(2**20, left + 1)):
            left -= len(block)
            if left < 0:
                raise FastrecError(f"{archive} member {member.name!r} is longer than announced: get an honest archive.")
            sink.write(block)


def innermost(root: Path) -> Path:
    """Step through folders that hold nothing but one folder, unless that one already is a class of pictures."""
    inside = [child for child in root.iterdir() if child.name not in ("__MACOSX",) and child.name[0] != "."]
    if len(inside) == 1 and inside[0].is_dir() and any(child.is_dir() for child in inside[0].iterdir()):
        names = folder.SPLIT_NAMES
        return root if inside[0].name.lower() in names else innermost(inside[0])
    return root
