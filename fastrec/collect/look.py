"""What one look at a file tells: its identity, and of each content what the table SEEN keeps.

Runs in the children of `fastrec.engine`, so it loads NumPy and Pillow only.  `look` takes one file, and leaves to
`measured` what costs a fraction when many pictures are measured at once.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Sequence
from typing import Any

import numpy as np
from PIL import Image

from fastrec import images

SIDE = 64  # statistics are measured on pictures squished, or stretched, to so many pixels: only then do they compare
THUMBNAIL = 16
HALF = 32  # letters of a sha256
STATISTICS = ("brightness", "contrast", "sharpness", "saturation")
TOLD = 11  # parts of what `look` tells of a content that is not known
Box = tuple[float, ...] | None


def look(job: tuple[str, Sequence[Box]], known: Collection[str]) -> list[tuple[Any, ...]]:
    """Read a file once, and decode it once if any of its contents is new.

    Parameters
    ----------
    job
        A path, and the boxes that are wanted of it; None stands for the whole picture.
    known
        The identities that need no decoding.

    Returns
    -------
    One tuple for each box: the identity alone if it is known, else the columns of SEEN, with the small
    picture's bytes in place of its statistics.  Of a file that cannot be read, the identity is None, and
    code and message follow.

    Raises
    ------
    MemoryError
        If the picture does not fit into this process.
    """
    path, boxes = job
    try:
        data = images.read_bytes(path)
    except images.ImageError as error:
        return [(None, error.code, str(error))] * len(boxes)
    names = [identity(data, box) for box in boxes]
    least = 0 if any(boxes) else SIDE  # boxes are in pixels of the whole picture
    picture = None if all(name in known for name in names) else _decoded(data, least)
    return [
        (name,) if picture is None or name in known else (name, *_told(picture, box, len(data)))
        for name, box in zip(names, boxes, strict=True)
    ]


def identity(data: bytes, box: Sequence[float] | None) -> str:
    """Return an image's name: the sha256 of its file's bytes; of a crop half of that, and half of its box's."""
    whole = hashlib.sha256(data).hexdigest()
    if box is None:
        return whole
    return photo(whole) + hashlib.sha256(np.asarray(box, "<f8").tobytes()).hexdigest()[:HALF]


def photo(image_id: str) -> str:
    """Return what an image has in common with all crops of its file: half of a sha256, which no other file has."""
    return image_id[:HALF]


def _decoded(data: bytes, least: int) -> images.Picture | images.ImageError:
    try:
        return images.decode(data, least)
    except images.ImageError as error:
        if isinstance(error.__cause__, MemoryError):  # says nothing of the picture
            raise MemoryError from error
        return error


def _told(picture: images.Picture | images.ImageError, box: Box, size: int) -> tuple[Any, ...]:
    try:
        if isinstance(picture, images.ImageError):
            raise picture
        whole = picture.image if box is None else Image.fromarray(images.crop(picture.pixels, box))
    except images.ImageError as error:
        return (error.code, str(error), *[None] * 7, b"")
    small = _squished(whole)
    facts = (picture.mode, picture.format, size, list(picture.warnings), small.reduce(SIDE // THUMBNAIL).tobytes())
    return (None, None, *facts, *(picture.size if box is None else whole.size), small.tobytes())


def _squished(image: Image.Image) -> Image.Image:
    """Bring a picture to ``SIDE`` x ``SIDE`` pixels; one that is smaller gets no steps that it has not."""
    if max(image.size) <= SIDE:
        return image.resize((SIDE, SIDE), Image.Resampling.NEAREST)
    # area means, in two steps: most of the work on larger pictures is halved, and no network sees these
    return image.resize((SIDE, SIDE), Image.Resampling.BOX, reducing_gap=1.0)


def measured(answers: Sequence[list[tuple[Any, ...]]]) -> list[list[tuple[Any, ...]]]:
    """Complete what `look` told of several files: the statistics take the place of the small pictures."""
    told = [row for rows in answers for row in rows if len(row) == TOLD and row[-1]]
    fine = images.statistics(_levels([small for *_, small in told], SIDE))
    coarse = images.statistics(_levels([thumbnail for *_, thumbnail, _, _, _ in told], THUMBNAIL))["sharpness"]
    each = zip(*(fine[name].tolist() for name in STATISTICS), coarse.tolist(), strict=True)
    unknown = (None,) * (len(STATISTICS) + 1)
    return [
        [(*row[:-1], *(next(each) if row[-1] else unknown)) if len(row) == TOLD else row for row in rows]
        for rows in answers
    ]


def _levels(pictures: Sequence[bytes], side: int) -> np.ndarray:
    return np.frombuffer(b"".join(pictures), np.uint8).reshape(-1, side, side, 3)
