"""Pictures as a public set brings them, and what a listing takes of them."""

from __future__ import annotations

import io
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from fastrec.collect.sources import Listing


def drawn(seed: int, kind: str = "PNG") -> bytes:
    """Return an encoded picture of noise."""
    stream = io.BytesIO()
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (12, 12, 3), dtype=np.uint8)).save(stream, kind)
    return stream.getvalue()


def write(root: Path, *names: str) -> None:
    """Write a picture under each name."""
    for number, name in enumerate(names):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(drawn(number))


def told(found: Listing) -> Counter[Any]:
    """Count what is taken by split and label, and what is not by its code."""
    return Counter(
        (item.split_hint, *item.labels) if item.labels else item.problem[0] if item.problem else None
        for item in found.items
    )
