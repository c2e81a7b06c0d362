"""The rows of a cache: how they lie in their file, and the work that fills one.

The file holds two NumPy arrays one after the other, as ``numpy.save`` appends them: the pixels, and for each
row a stamp of two sha256, of what the row should show and of its pixels.  So whatever a kill, a full disk or a
rotten one leaves behind, each row proves by itself whether it may be used again.

Runs in the children of `fastrec.engine`, so it loads NumPy and Pillow only.
"""

from __future__ import annotations

import hashlib
import io
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fastrec import images
from fastrec.collect.look import identity
from fastrec.files import FastrecError

STAMP = 64  # bytes of a row's two sha256
Job = tuple[int, bytes, str, str, tuple[float, ...] | None]  # row, key, path, image_id, box


def key(image_id: str, size: int, rule: str, decoder: str) -> bytes:
    """Return what tells a row's content: with equal keys, pixels are equal."""
    return hashlib.sha256(f"{image_id} {size} {rule} {decoder}".encode()).digest()


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
    size: int  # side of a row's picture in pixels
    first: int  # where the first row begins, in bytes
    stamps: int  # where the first stamp begins
    end: int

    @classmethod
    def of(cls, path: Path, count: int, size: int) -> Layout:
        """Lay out a file of ``count`` rows."""
        first = len(_header(count, size, size, 3))
        stamps = first + count * size * size * 3 + len(_header(count, STAMP))
        return cls(path, size, first, stamps, stamps + count * STAMP)

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
            os.pwrite(descriptor, _header(count, self.size, self.size, 3), 0)
        except OSError:
            self.path.unlink()
            raise
        finally:
            os.close(descriptor)

    def put(self, row: int, content: bytes, pixels: np.ndarray) -> None:
        """Write a row and its stamp; ``content`` is its key."""
        data = pixels.tobytes()
        descriptor = os.open(self.path, os.O_WRONLY)  # anew for each row: the path may be another file by now
        try:
            written = os.pwrite(descriptor, data, self.first + row * len(data))
            written += os.pwrite(descriptor, content + hashlib.sha256(data).digest(), self.stamps + row * STAMP)
        finally:
            os.close(descriptor)
        if written != len(data) + STAMP:
            raise OSError(f"No space left for row {row} of {self.path}")


class Earlier:
    """The rows of a file that another build made or began.

    Parameters
    ----------
    path
        A file that may be missing, of an older make or damaged: then it has no rows.
    size
        Side of the pictures that are wanted.
    """

    def __init__(self, path: Path, size: int) -> None:
        self.path, self._places = path, dict[bytes, int]()
        try:
            pixels = np.lib.format.open_memmap(path, mode="r")
            with path.open("rb") as stream:
                stream.seek(pixels.offset + pixels.nbytes)
                stamps = np.load(stream)
        except (OSError, ValueError, EOFError):
            return
        if pixels.shape[1:] == (size, size, 3) and pixels.dtype == np.uint8 and stamps.shape == (len(pixels), STAMP):
            self._pixels, self._stamps = pixels, stamps
            self._places = {stamp[:32].tobytes(): row for row, stamp in enumerate(stamps)}

    def find(self, content: bytes) -> tuple[int, np.ndarray] | None:
        """Return the row with this key and its pixels, if they are whole."""
        if (row := self._places.get(content)) is None:
            return None
        pixels = self._pixels[row]
        whole = hashlib.sha256(pixels).digest() == self._stamps[row, 32:].tobytes()
        return (row, pixels) if whole else None


def fill(work: tuple[Job, bool], layout: Layout, rule: str) -> None:
    """Decode a picture, bring it to size by ``rule`` and write it into its row, unless it is there.

    The file is read in any case: that it still is the one that collect saw holds for all rows.

    Raises
    ------
    FastrecError
        If the file is not the one that collect saw.
    """
    (row, content, path, expected, box), filled = work
    try:
        data = images.read_bytes(Path(path))
        if identity(data, box) != expected:
            raise FastrecError(f"{path} changed after collect saw it: run notebooks/01_collect.ipynb again.")
        if filled:
            return
        picture = images.decode(data)
        pixels = images.resize(picture.image if box is None else images.crop(picture.pixels, box), layout.size, rule)
    except images.ImageError as error:
        raise FastrecError(f"{path} {error}; it was usable before: run notebooks/01_collect.ipynb again.") from error
    layout.put(row, content, pixels)
