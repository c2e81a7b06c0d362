"""The thumbnails of many pictures, on disk: in memory they would be most of what collect holds."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np

from fastrec.collect.look import THUMBNAIL
from fastrec.files import naming_disk_faults

BYTES = THUMBNAIL * THUMBNAIL * 3  # of one


class Thumbnails:
    """Thumbnails in a file without a name, that is gone when this process is.

    Parameters
    ----------
    folder
        Where there is room for them.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        with naming_disk_faults(folder / "thumbnails"):
            folder.mkdir(parents=True, exist_ok=True)
            self._file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 (open as long as this lives)
        self._count = 0

    def close(self) -> None:
        """Remove the file, and what a full disk kept from being written."""
        with suppress(OSError):
            self._file.close()

    def __len__(self) -> int:
        return self._count

    def add(self, levels: Sequence[bytes]) -> None:
        """Add thumbnails, each the bytes of 16 x 16 x 3 levels; raises FastrecError where the disk is full."""
        with naming_disk_faults(self._folder / "thumbnails"):
            self._file.seek(self._count * BYTES)  # behind what is whole
            self._file.write(b"".join(levels))
            self._file.flush()
        self._count += len(levels)

    def __getitem__(self, places: np.ndarray) -> np.ndarray:
        """Return those at ``places`` as uint8, (n, 16, 16, 3)."""
        read = [os.pread(self._file.fileno(), BYTES, place * BYTES) for place in places.tolist()]
        return np.frombuffer(b"".join(read), np.uint8).reshape(-1, THUMBNAIL, THUMBNAIL, 3)
