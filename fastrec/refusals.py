"""Why a picture is refused: a code for programs, and words for people."""

from __future__ import annotations

from PIL import UnidentifiedImageError

# First bytes, in lower case, of what people save under an image's name ...
_LOOKS_LIKE = {b"<!doctype html": "HTML", b"<html": "HTML", b"<svg": "SVG", b"<?xml": "XML or SVG"}
_LOOKS_LIKE |= {b"{": "JSON", b"[": "JSON", b"%pdf": "PDF", b"pk\x03\x04": "a zip archive"}
# ... and of pictures that are not read: at the beginning or after the length of a first box
_UNSUPPORTED = {b"%!PS": "EPS", b"\xc5\xd0\xd3\xc6": "EPS", b"8BPS": "Photoshop", b"\0\0\1\0": "an icon"}
_UNSUPPORTED |= {b"ftyphei": "HEIC", b"ftypmif1": "HEIC", b"jP  ": "JPEG 2000", b"JXL ": "JPEG XL"}
_CUT_WORDS = ("truncated", "unexpected end", "not enough", "eof", "end of file")


class ImageError(ValueError):
    """A picture that is refused: a ``code`` for programs, and a message for people.

    The message continues a sentence that begins with the file's name: "is empty (0 bytes)".
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(code, message)  # both, so that it survives the way back from a worker process
        self.code = code

    def __str__(self) -> str:
        return str(self.args[1])


def refusal(error: Exception, data: bytes = b"") -> ImageError:
    """Return the refusal of a picture whose parser raised ``error``; the file's bytes tell more than it does."""
    reason = str(error).strip().lower()
    if _is_cut(data) or isinstance(error, (EOFError, IndexError)) or any(word in reason for word in _CUT_WORDS):
        return ImageError("truncated", "is cut short: get the whole file again")
    if isinstance(error, UnidentifiedImageError):
        return _unidentified(data)
    return ImageError("corrupt", f"is corrupt ({reason or type(error).__name__}): get the file again")


def _unidentified(data: bytes) -> ImageError:
    """Tell what the bytes are instead of an image."""
    head = data[:64].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    for magic, name in _UNSUPPORTED.items():
        if data.startswith((magic, data[:4] + magic)):
            return ImageError("unsupported_format", f"is {name}: save it as PNG or JPEG")
    for magic, name in _LOOKS_LIKE.items():
        if head.startswith(magic):
            return ImageError("not_an_image", f"is not an image (looks like {name}): put the picture itself there")
    return ImageError("not_an_image", "is not an image of a known format: save it as PNG or JPEG")


def _is_cut(data: bytes) -> bool:
    """Say whether a WebP or AVIF file is shorter than its own lengths claim."""
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return len(data) < 8 + int.from_bytes(data[4:8], "little")
    end, length = 0, 8
    while data[4:12] == b"ftypavif" and length >= 8 and end + 8 <= len(data):
        length = int.from_bytes(data[end : end + 4], "big")
        end += length
    return end > len(data)
