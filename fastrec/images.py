"""Bytes to an upright RGB array, or a named refusal: the one decoder of training and serving.

Needs NumPy and Pillow only, so that a deployed package decodes exactly as training did.
"""

from __future__ import annotations

import ctypes
import importlib
import io
import logging
import os
import stat
import warnings
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import PIL
from PIL import Image

from fastrec import levels
from fastrec.refusals import ImageError, refusal

FORMATS = ("JPEG", "PNG", "GIF", "BMP", "WEBP", "TIFF", "PPM", "AVIF")
EXTENSIONS = (".jpg", ".jpeg", ".png", ".gif", ".bmp", ".webp", ".tif", ".tiff", ".ppm", ".pgm", ".avif")
MAX_PIXELS = 80_000_000  # a 1-bit PNG of 17 KB can claim more memory than a laptop has
MAX_BYTES = 256 * 2**20
MIN_SIDE = 8
MAX_ASPECT = 100
BACKGROUND = (255, 255, 255)  # what shows through transparent pixels
PADDING = 114  # beside a padded picture: YOLO's letterbox grey, near photographs' mean, so near zero once normalised


def _quiet() -> None:
    """Keep Pillow and its libtiff from printing about broken files: what matters is raised or noted anyway."""
    warnings.filterwarnings("ignore", module=r"PIL\.")
    logging.getLogger("PIL").addHandler(logging.NullHandler())
    for library in Path(PIL.__file__).parent.parent.glob("pillow.libs/libtiff*"):  # in Linux wheels
        with suppress(OSError, AttributeError):
            ctypes.CDLL(str(library)).TIFFSetErrorHandler(None)
            ctypes.CDLL(str(library)).TIFFSetWarningHandler(None)


_quiet()
for _name in ("Jpeg", "Png", "Gif", "Bmp", "WebP", "Tiff", "Ppm", "Avif"):  # Image.init() takes twice as long
    importlib.import_module(f"PIL.{_name}ImagePlugin")
_ALLOWED = tuple(name for name in FORMATS if name in Image.OPEN)
_UPRIGHT = {  # what undoes an EXIF orientation
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
statistics = levels.statistics
_PLAIN_MODES = ("1", "L", "P", "RGB", "RGBX", "CMYK", "YCbCr", "LAB", "HSV")


@dataclass(frozen=True)
class Picture:
    """A decoded picture, and how the file had it before any conversion."""

    image: Image.Image  # upright RGB
    size: tuple[int, int]  # width and height, upright, of all of it; ``image`` may be smaller, see `decode`
    format: str
    mode: str
    mended: tuple[str, ...] = ()

    @property
    def pixels(self) -> np.ndarray:
        """Return uint8, (height, width, 3)."""
        return np.asarray(self.image)

    @property
    def warnings(self) -> tuple[str, ...]:
        """Say what had to be mended, and what looks odd."""
        step = max(1, min(self.image.size) // 64)  # a glance at some 64 x 64 points is enough
        if _varied(self.image, 4 * step):
            return self.mended
        points = self.pixels[::step, ::step]
        plain = points[::4, ::4, 0].std() < 4.0 and all(points[..., channel].std() < 1.0 for channel in range(3))
        return (*self.mended, "nearly constant") if plain else self.mended


def _varied(image: Image.Image, step: int) -> bool:
    """Say whether a few of the points ``step`` apart prove the deviation of them all to be at least 4."""
    across, down = (len(range(0, extent, step)) for extent in image.size)
    points: Any = image.load()
    places = product(range(0, image.width, step * -(-across // 4)), range(0, image.height, step * -(-down // 4)))
    levels = [points[place][0] for place in places]
    mean = sum(levels) / len(levels)
    return sum((level - mean) ** 2 for level in levels) > 17 * across * down  # their share of all squares


def read_bytes(path: Path | str) -> bytes:
    """Read a regular file; links are not followed, FIFOs and devices are not opened.

    Raises
    ------
    ImageError
        ``link``, ``not_a_file``, ``unreadable`` or ``too_many_bytes``.
    """
    if "\0" in str(path):
        raise ImageError("unreadable", "cannot be read (a zero byte in its name): rename it")
    try:
        status = os.lstat(path)
        if stat.S_ISLNK(status.st_mode):
            raise ImageError("link", "is a symbolic link, which is not followed: put the picture itself there")
        if not stat.S_ISREG(status.st_mode):
            raise ImageError("not_a_file", "is not a regular file: name a picture")
        if status.st_size > MAX_BYTES:
            raise ImageError("too_many_bytes", f"has {status.st_size} bytes, over {MAX_BYTES}: make it smaller")
        with io.FileIO(path) as stream:
            return stream.readall()
    except OSError as error:
        raise ImageError("unreadable", f"cannot be read ({error.strerror}): check its path and mode") from error


def decode(data: bytes, least: int = 0) -> Picture:
    """Decode the bytes of an image file to upright RGB.

    EXIF rotation is applied, 16-bit levels are scaled to 8 bits, transparency is laid on white, and
    of several frames the first is taken.

    Parameters
    ----------
    data
        All of the file.
    least
        A side in pixels that is enough, 0 for all.  A JPEG is then computed at a half, a quarter or an eighth,
        still from all of its data: what is broken shows as ever, in a fraction of the time.

    Raises
    ------
    ImageError
        ``empty_file``, ``not_an_image``, ``unsupported_format``, ``truncated``, ``corrupt``,
        ``too_many_pixels``, ``too_small``, ``aspect``, ``float_range_unknown`` or
        ``unsupported_mode``.
    """
    if not data:
        raise ImageError("empty_file", "is empty (0 bytes): get the file again")
    notes: list[str] = []
    with _open(data) as image:
        _check_size(*image.size)
        kind, mode, whole = image.format or "", image.mode, image.size
        smaller = least > 0 and image.draft(None, (least, least)) is not None
        _load(image)
        upright, swapped = _turn(image, _to_rgb(image), notes)
        size = upright.size if not smaller else whole[::-1] if swapped else whole
        if (frames := _frames(image)) > 1:  # counted last, as counting moves on to other frames
            notes.append(f"first of {frames} frames taken")
        profile = image.info.get("icc_profile") or b""  # in a TIFF file anything
        if profile and (isinstance(profile, bytes) and profile[36:40]) != b"acsp":
            notes.append("unreadable colour profile ignored")
    if kind == "PNG" and b"IEND" not in data:
        notes.append("end of file is missing")
    return Picture(upright, size, kind, mode, tuple(notes))


def _open(data: bytes) -> Image.Image:
    try:
        return Image.open(io.BytesIO(data), formats=_ALLOWED)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise ImageError("too_many_pixels", f"claims more than {MAX_PIXELS} pixels: make it smaller") from error
    except Exception as error:  # plugins raise whatever their parser raised
        raise refusal(error, data) from error


def _check_size(width: int, height: int) -> None:
    if width < 1 or height < 1:
        raise ImageError("not_an_image", f"claims a size of {width}x{height}: get the file again")
    if width * height > MAX_PIXELS:
        raise ImageError("too_many_pixels", f"has {width}x{height} pixels, over {MAX_PIXELS}: make it smaller")
    if max(width, height) > MAX_ASPECT * min(width, height):
        raise ImageError("aspect", f"is {width}x{height}, longer than {MAX_ASPECT} times its width: crop it")
    if min(width, height) < MIN_SIDE:
        raise ImageError("too_small", f"is {width}x{height}, under {MIN_SIDE} pixels a side: use a larger one")


def _frames(image: Image.Image) -> int:
    try:
        return int(getattr(image, "n_frames", 1))
    except Exception:  # counting frames parses the whole file
        return 1


def _load(image: Image.Image) -> None:
    try:
        image.load()
    except Exception as error:  # OSError, ValueError, SyntaxError, IndexError, TypeError were all seen
        raise refusal(error) from error


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode == "F":
        raise ImageError("float_range_unknown", "holds float levels without a range: save it with 8 or 16 bits")
    try:
        if image.mode.startswith("I"):
            return Image.fromarray(_eight_bits(np.asarray(image), _white(image))).convert("RGB")
        if image.has_transparency_data:
            image = image.convert("RGBA")
            return Image.alpha_composite(Image.new("RGBA", image.size, (*BACKGROUND, 255)), image).convert("RGB")
        if image.mode in _PLAIN_MODES:  # a JPEG has one frame, so nothing that follows changes it: no copy
            return image if (image.format, image.mode) == ("JPEG", "RGB") else image.convert("RGB")
    except ImageError:
        raise
    except Exception as error:
        raise refusal(error) from error
    raise ImageError("unsupported_mode", f"has mode {image.mode}: save it as RGB")


def _white(image: Image.Image) -> int:
    """Return the brightest level: 65535, unless a TIFF says that it uses fewer of its 16 bits."""
    bits = getattr(image, "tag_v2", {}).get(258, (16,))
    return 2 ** bits[0] - 1 if 8 < bits[0] < 16 else 65535


def _eight_bits(levels: np.ndarray, white: int) -> np.ndarray:
    """Scale levels up to ``white`` to 8 bits; a 32-bit image must keep to 16, or its range is unknown."""
    low, high = int(levels.min()), int(levels.max())
    if low < 0 or high > white:
        raise ImageError("float_range_unknown", f"holds levels from {low} to {high}: save it with 8 or 16 bits")
    return np.asarray(np.rint(levels * (255.0 / white)), np.uint8)


def _turn(image: Image.Image, rgb: Image.Image, notes: list[str]) -> tuple[Image.Image, bool]:
    """Undo the camera's rotation, and say whether width and height changed places.

    It is read after load(), as TIFF files turn themselves then.
    """
    try:
        orientation = image.getexif().get(0x0112, 1)
    except Exception:  # EXIF is a small file format of its own, and as easily broken
        notes.append("unreadable EXIF ignored")
        return rgb, False
    method = _UPRIGHT.get(orientation) if isinstance(orientation, int) else None
    return (rgb, False) if method is None else (rgb.transpose(method), orientation > 4)


def crop(pixels: np.ndarray, box: Sequence[float] | None) -> np.ndarray:
    """Cut a box (left, top, width, height in pixels) out of a picture; None leaves the picture whole.

    Raises
    ------
    ImageError
        ``box_outside`` if less than half of the box lies in the picture, ``too_small`` if what is left
        is under 8 pixels a side.
    """
    if box is None:
        return pixels
    height, width = pixels.shape[:2]
    left, top, across, down = box
    if not np.isfinite((left + across, top + down)).all() or min(across, down) <= 0:
        raise ImageError("box_outside", f"has a box {tuple(box)} without an area: mend the box")
    x, y = max(0, round(left)), max(0, round(top))
    cut = pixels[y : max(y, round(top + down)), x : max(x, round(left + across))]
    if cut.size / 3 < across * down / 2:
        raise ImageError("box_outside", f"is {width}x{height}, but its box {tuple(box)} lies outside: mend the box")
    if min(cut.shape[:2]) < MIN_SIDE:
        raise ImageError("too_small", f"has a box of {cut.shape[1]}x{cut.shape[0]}, under {MIN_SIDE}: enlarge the box")
    return cut


def resize(picture: np.ndarray | Image.Image, size: int, rule: str = "squish") -> np.ndarray:
    """Resize to ``size`` x ``size`` with Pillow's antialiased bilinear filter.

    Parameters
    ----------
    picture, size
        uint8, (height, width, 3), or an RGB image; the side of the result in pixels.
    rule
        ``squish`` stretches, ``crop`` takes the largest centred square first, ``pad`` keeps the whole
        picture in its proportions, centred between bars of the grey `PADDING`.

    Returns uint8, (size, size, 3).
    """
    image = picture if isinstance(picture, Image.Image) else Image.fromarray(np.ascontiguousarray(picture))
    if rule == "crop":
        side = min(image.size)
        left, top = ((extent - side) // 2 for extent in image.size)
        image = image.crop((left, top, left + side, top + side))
    down, across = fitted(image.height, image.width, size) if rule == "pad" else (size, size)
    image = image.resize((across, down), Image.Resampling.BILINEAR)
    if rule == "pad":
        image, fitting = Image.new("RGB", (size, size), (PADDING,) * 3), image
        image.paste(fitting, ((size - across) // 2, (size - down) // 2))
    return np.asarray(image)


def fitted(height: int, width: int, size: int) -> tuple[int, int]:
    """Return height and width of a picture whose longer side becomes ``size``, the other rounded, halves up."""
    longest = max(height, width)
    return tuple(max(1, (2 * side * size + longest) // (2 * longest)) for side in (height, width))  # type: ignore
