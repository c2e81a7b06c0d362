"""The rows of a cache: how they lie in their file, and the work that fills one.

The file holds two NumPy arrays one after the other, as ``numpy.save`` appends them: the pixels, and for each
row a stamp: the sha256 of what the row should show, and the CRC-32 of its pixels.  So whatever a kill, a full disk
or a rotten one leaves behind, each row proves by itself whether it may be used again.

Runs in the children of `fastrec.engine`, so it loads NumPy and Pillow only.
"""

from __future__ import annotations

import hashlib
import io
import math
import os
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from fastrec import channels, images
from fastrec.collect.look import identity
from fastrec.files import FastrecError

STAMP = 36  # bytes: a key, see `key`, and a checksum
Job = tuple[int, bytes, str, str, tuple[float, ...] | None]  # row, key, path, image_id, box


class Work(NamedTuple):
    """A row that is wanted: what it shows, whether it is there, and whether its levels count."""

    job: Job
    filled: bool
    counted: bool


def key(image_id: str, made_by: str) -> bytes:
    """Return what tells a row's content: with equal keys and channels, pixels are equal.

    ``made_by`` names the size, the rule and the decoder.
    """
    return hashlib.sha256(f"{image_id} {made_by}".encode()).digest()


def _checksum(pixels: bytes) -> bytes:
    """Return what shows that a row was not written to its end, or changed: a third of the time of a sha256."""
    return zlib.crc32(pixels).to_bytes(4, "little")


def _header(*shape: int) -> bytes:
    stream = io.BytesIO()
    np.lib.format.write_array_header_2_0(stream, {"descr": "|u1", "fortran_order": False, "shape": shape})
    return stream.getvalue()


@dataclass(frozen=True)
class Layout:
    """A cache file and where each row has its place in it.

    Written with ``pwrite``, not through a memory map: there, a full disk would end the process.
    """

    path: Path
    shape: tuple[int, int, int]  # of a row's picture: height, width, channels
    first: int  # where the first row begins, in bytes
    stamps: int  # where the first stamp begins
    end: int

    @classmethod
    def of(cls, path: Path, count: int, shape: tuple[int, int, int]) -> Layout:
        """Lay out a file of ``count`` rows."""
        first = len(_header(count, *shape))
        stamps = first + count * math.prod(shape) + len(_header(count, STAMP))
        return cls(path, shape, first, stamps, stamps + count * STAMP)

    def reserve(self, count: int) -> None:
        """Make the file with all its room on the disk; one that is there already keeps its rows.

        Raises
        ------
        OSError
            If the disk is full, among others; the file is not kept then.
        """
        self.path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            if os.fstat(descriptor).st_size != self.end:
                os.ftruncate(descriptor, 0)
                if hasattr(os, "posix_fallocate"):  # elsewhere a full disk shows at a later write
                    os.posix_fallocate(descriptor, 0, self.end)
                os.ftruncate(descriptor, self.end)
            tail = _header(count, STAMP)
            os.pwrite(descriptor, tail, self.stamps - len(tail))
            os.pwrite(descriptor, _header(count, *self.shape), 0)
        except OSError:
            self.path.unlink()
            raise
        finally:
            os.close(descriptor)

    def put(self, row: int, contents: Sequence[bytes], pixels: Sequence[bytes]) -> None:
        """Write rows that follow each other, from ``row`` on, and their stamps; ``contents`` are their keys."""
        stamps = b"".join(key + _checksum(data) for key, data in zip(contents, pixels, strict=True))
        data = b"".join(pixels)
        descriptor = os.open(self.path, os.O_WRONLY)  # anew each time: the path may be another file by now
        try:
            written = os.pwrite(descriptor, data, self.first + row * math.prod(self.shape))
            written += os.pwrite(descriptor, stamps, self.stamps + row * STAMP)
        finally:
            os.close(descriptor)
        if written != len(data) + len(stamps):
            raise OSError(f"No space left for row {row} of {self.path}")

    def get(self, row: int) -> bytes:
        """Read a row's pixels."""
        descriptor = os.open(self.path, os.O_RDONLY)
        try:
            return os.pread(descriptor, math.prod(self.shape), self.first + row * math.prod(self.shape))
        finally:
            os.close(descriptor)


class Earlier:
    """The rows of a file that another build made or began.

    Parameters
    ----------
    path
        A file that may be missing, of an older make or damaged: then it has no rows.
    shape
        Of the pictures that are wanted.
    """

    def __init__(self, path: Path, shape: tuple[int, int, int]) -> None:
        self.path, self._places = path, dict[bytes, int]()
        try:
            pixels = np.lib.format.open_memmap(path, mode="r")
            with path.open("rb") as stream:
                stream.seek(pixels.offset + pixels.nbytes)
                stamps = np.load(stream)
        except (OSError, ValueError, EOFError):
            return
        if pixels.shape[1:] == shape and pixels.dtype == np.uint8 and stamps.shape == (len(pixels), STAMP):
            self._pixels, self._stamps = pixels, stamps
            self._places = {stamp[:32].tobytes(): row for row, stamp in enumerate(stamps)}

    def find(self, content: bytes) -> tuple[int, np.ndarray] | None:
        """Return the row with this key and its pixels, if they are whole."""
        if (row := self._places.get(content)) is None:
            return None
        pixels = self._pixels[row]
        return (row, pixels) if _checksum(pixels.tobytes()) == self._stamps[row, 32:].tobytes() else None


def fill(work: Work, layout: Layout, rule: str) -> tuple[Work, bytes]:
    """Decode a picture and bring it to size by ``rule``, or take the row that is there.

    The file is read in any case: that it still is the one that collect saw holds for all rows.

    Raises
    ------
    FastrecError
        If the file is not the one that collect saw.
    """
    _, _, path, expected, box = work.job
    try:
        data = images.read_bytes(path)
        if identity(data, box) != expected:
            raise FastrecError(f"{path} changed after collect saw it: run notebooks/01_collect.ipynb again.")
        if work.filled:
            return work, layout.get(work.job[0]) if work.counted else b""
        picture = images.decode(data)
        whole = picture.image if box is None else images.crop(picture.pixels, box)
        pixels = channels.reduced(images.resize(whole, layout.shape[0], rule), layout.shape[2])
    except images.ImageError as error:
        raise FastrecError(f"{path} {error}; it was usable before: run notebooks/01_collect.ipynb again.") from error
    return work, pixels.tobytes()


def store(answers: Sequence[tuple[Work, bytes]], layout: Layout) -> list[np.ndarray | None]:
    """Write what `fill` made into its rows, those that follow each other at once; return their `levels`.

    They are counted together: the first answer holds them, the others are None.
    """
    new = [(work.job, pixels) for work, pixels in answers if not work.filled]
    for _, run in groupby(enumerate(new), lambda place: place[1][0][0] - place[0]):
        jobs, pixels = zip(*(one for _, one in run), strict=True)
        layout.put(jobs[0][0], [job[1] for job in jobs], pixels)
    counted = b"".join(pixels for work, pixels in answers if work.counted)
    return [levels(counted, layout.shape) if place == 0 else None for place in range(len(answers))]


def levels(pixels: bytes, shape: tuple[int, int, int]) -> np.ndarray:
    """Count how often each of the 256 levels occurs in each channel: by Pillow many times faster than by NumPy.

    Returns int64, (channels, 256).
    """
    _, width, depth = shape
    if not pixels:
        return np.zeros((depth, 256), np.int64)
    lines = Image.frombytes("L" if depth == 1 else "RGB", (width, len(pixels) // (width * depth)), pixels)
    return np.reshape(lines.histogram(), (depth, 256))
