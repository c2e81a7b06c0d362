"""What becomes of the memory of arrays that are no longer needed."""

from __future__ import annotations

import ctypes
from contextlib import suppress

_TRIM_THRESHOLD, _MMAP_MAX = -1, -4  # of glibc's malloc.h


def keep_freed(most: int) -> None:
    """Have the C library keep freed memory for the next arrays, and give it back only beyond ``most`` bytes.

    By itself glibc maps every larger array anew, and each of its pages then costs a fault when it is first
    written, which can take longer than the work on it.  Other C libraries are left as they are.
    """
    with suppress(OSError, AttributeError, TypeError):  # musl and macOS have no mallopt, Windows no CDLL(None)
        settle = ctypes.CDLL(None).mallopt
        settle(_MMAP_MAX, 0)
        settle(_TRIM_THRESHOLD, most)
