"""Files that a folder of pictures may hold: good, odd, broken and hostile ones, made when a test asks for them.

`cases` gives contents with the outcome that decoding must have; `write_names` and `write_nodes` put odd
names and odd file-system entries into a folder, for whatever walks folders.
"""

from __future__ import annotations

import functools
import io
import os
import struct
import unicodedata
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageCms, TiffImagePlugin, features

WIDTH, HEIGHT = 64, 48
_INVERSE = {  # how a camera stores what its orientation tag turns upright again
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}


@dataclass(frozen=True)
class Case:
    """One file: its name and bytes, and what `images.decode` must make of it."""

    name: str
    data: bytes
    codes: tuple[str, ...] = ()  # the refusals that are right; none: the picture is accepted
    warning: str = ""  # part of a warning that must come along
    pixels: np.ndarray | None = None  # what must come out, (height, width, 3) ...
    within: float = 3.0  # ... up to this mean difference of levels

    def __str__(self) -> str:
        return self.name


def base_pixels() -> np.ndarray:
    """Return the upright gradient, 64 x 48, that no turn or flip leaves as it is."""
    x, y = np.meshgrid(np.linspace(0, 255, WIDTH), np.linspace(0, 255, HEIGHT))
    return np.stack([x, y, (x + 2 * y) / 3], -1).astype(np.uint8)


BASE = Image.fromarray(base_pixels())
GREY = np.repeat(np.asarray(BASE.convert("L"))[..., None], 3, -1)


def encode(image: Image.Image, kind: str, **options: Any) -> bytes:
    """Return ``image`` as a file of format ``kind``."""
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def chunk(kind: bytes, content: bytes) -> bytes:
    """Return one PNG chunk."""
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png_header(width: int, height: int, depth: int = 8, colour: int = 2) -> bytes:
    """Return the signature and IHDR chunk of a PNG."""
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0))


def png_bomb(side: int) -> bytes:
    """Return a black one-bit PNG of ``side`` squared pixels in some kilobytes."""
    packer = zlib.compressobj(9)
    row = bytes(1 + (side + 7) // 8)
    content = b"".join([*(packer.compress(row * 100) for _ in range(side // 100)), packer.flush()])
    return png_header(side, side, 1, 0) + chunk(b"IDAT", content) + chunk(b"IEND", b"")


def png_with(kind: bytes, content: bytes) -> bytes:
    """Return the base picture as PNG with one more chunk before its pixels."""
    whole = encode(BASE, "PNG")
    return whole[:33] + chunk(kind, content) + whole[33:]


def tiff_grey(levels: np.ndarray, bits: int) -> bytes:
    """Return an uncompressed grey TIFF: of 16 bits a level big-endian, of 12 bits little-endian."""
    height, width = levels.shape
    if bits == 16:
        order, start, strip = ">", b"MM\0*", levels.astype(">u2").tobytes()
    else:
        order, start = "<", b"II*\0"
        strip = b"".join(((a << 12) | b).to_bytes(3, "big") for a, b in levels.reshape(-1, 2).tolist())
    tags = {256: width, 257: height, 258: bits, 259: 1, 262: 1, 273: 8, 277: 1, 278: height, 279: len(strip)}
    entries = b"".join(struct.pack(f"{order}HHII", tag, 4, 1, value) for tag, value in tags.items())
    directory = struct.pack(f"{order}H", len(tags)) + entries + bytes(4)
    return start + struct.pack(f"{order}I", 8 + len(strip)) + strip + directory


def turned(orientation: int, kind: str, **options: Any) -> bytes:
    """Return the base picture as a camera held askew would store it, with the tag that says so."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = BASE.transpose(_INVERSE[orientation]) if orientation in _INVERSE else BASE
    return encode(stored, kind, exif=exif, **options)


def faded(mode: str) -> Image.Image:
    """Return red whose left half is transparent."""
    image = Image.new("RGBA", (WIDTH, HEIGHT), (255, 0, 0, 255))
    image.paste((255, 0, 0, 0), (0, 0, WIDTH // 2, HEIGHT))
    return image.convert(mode)


def on_white(level: tuple[int, int, int] = (255, 0, 0)) -> np.ndarray:
    """Return what `faded` must look like: white on the left, the colour on the right."""
    pixels = np.full((HEIGHT, WIDTH, 3), 255, np.uint8)
    pixels[:, WIDTH // 2 :] = level
    return pixels


# ---------------------------------------------------------------------------- the cases


@functools.cache
def cases() -> tuple[Case, ...]:
    """Return every case; made once, as the bombs take a second."""
    families = (_ordinary, _broken, _foreign, _modes, _transparent, _frames, _turned, _sizes, _tails, _profiles)
    return tuple(case for family in families for case in family())


def _ordinary() -> list[Case]:
    jpeg, png, pixels = encode(BASE, "JPEG", quality=95), encode(BASE, "PNG"), base_pixels()
    made = [
        Case("plain.jpg", jpeg, pixels=pixels),
        Case("plain.png", png, pixels=pixels, within=0),
        Case("png-named.jpg", png, pixels=pixels, within=0),
        Case("jpeg-named.png", jpeg, pixels=pixels),
        Case("no-extension", png, pixels=pixels, within=0),
        Case("upper.JPEG", jpeg, pixels=pixels),
        Case("plain.bmp", encode(BASE, "BMP"), pixels=pixels, within=0),
        Case("plain.ppm", encode(BASE, "PPM"), pixels=pixels, within=0),
        Case("plain.webp", encode(BASE, "WEBP", lossless=True), pixels=pixels, within=0),
        Case("progressive.jpg", encode(BASE, "JPEG", progressive=True, quality=95), pixels=pixels),
        Case("two-starts.jpg", jpeg[:2] + jpeg, ("corrupt",)),
        Case("all-black.png", encode(Image.new("RGB", (WIDTH, HEIGHT)), "PNG"), warning="nearly constant"),
        Case("all-red.png", encode(Image.new("RGB", (WIDTH, HEIGHT), "red"), "PNG"), warning="nearly constant"),
        Case("long-comment.png", png_with(b"tEXt", b"Comment\0" + b"x" * 2**14), pixels=pixels, within=0),
    ]
    if features.check("avif"):
        made.append(Case("plain.avif", encode(BASE, "AVIF", quality=95), pixels=pixels))
    return made


def _broken() -> list[Case]:
    jpeg, png = encode(BASE, "JPEG", quality=95), encode(BASE, "PNG")
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (96, 128, 3), np.uint8))
    flipped = bytearray(png)
    flipped[png.index(b"IDAT") + 40] ^= 0x10
    scanned = bytearray(jpeg)
    scanned[-200] ^= 0x04
    made = [
        Case("empty.jpg", b"", ("empty_file",)),
        Case("one-byte.jpg", b"\xff", ("not_an_image",)),
        Case("two-bytes.jpg", jpeg[:2], ("not_an_image",)),
        Case("half.jpg", jpeg[: len(jpeg) // 2], ("truncated",)),
        Case("without-its-end.jpg", jpeg[:-2], ("truncated",)),
        Case("half.png", png[: len(png) // 2], ("truncated",)),
        Case("without-its-end.png", png[:-12], warning="end of file is missing", pixels=base_pixels(), within=0),
        Case("flipped-in-the-scan.jpg", bytes(scanned), pixels=base_pixels(), within=60),
        Case("flipped-in-the-data.png", bytes(flipped), ("corrupt",)),
        Case("cut-progressive.jpg", encode(noise, "JPEG", progressive=True, quality=95)[:9000], ("truncated",)),
        Case("cut.bmp", encode(BASE, "BMP")[:-900], ("truncated",)),
        Case("cut.gif", encode(noise.convert("P"), "GIF")[:2000], ("truncated",)),
        Case("cut.webp", encode(noise, "WEBP")[:2000], ("truncated",)),
        Case("cut.tif", encode(BASE, "TIFF")[:-900], ("truncated", "corrupt", "not_an_image")),
        Case("negative.ppm", b"P6\n-2 -2\n255\n" + bytes(12), ("truncated", "not_an_image")),
    ]
    if features.check("avif"):
        made.append(Case("cut.avif", encode(noise, "AVIF")[:2000], ("truncated",)))
    return made


def _foreign() -> list[Case]:
    noise = np.random.default_rng(1).bytes(4096)
    eps = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 50 50\n%%EndComments\nshowpage\n%%EOF\n"
    return [
        Case("page.jpg", b"<!DOCTYPE html><html><body>404 Not Found</body></html>", ("not_an_image",)),
        Case("answer.png", b'{"error": "not found"}', ("not_an_image",)),
        Case("script.png", b'<svg xmlns="http://www.w3.org/2000/svg"><script>1</script></svg>', ("not_an_image",)),
        Case("random.jpg", noise, ("not_an_image",)),
        Case("paper.png", b"%PDF-1.7\n1 0 obj\n<<>>\nendobj\n", ("not_an_image",)),
        Case("archive.png", b"PK\x03\x04" + noise, ("not_an_image",)),
        Case("postscript.jpg", eps, ("unsupported_format",)),
        Case("phone.jpg", b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + noise, ("unsupported_format",)),
        Case("icon.png", encode(BASE, "ICO"), ("unsupported_format",)),
        Case("wavelets.jpg", encode(BASE, "JPEG2000"), ("unsupported_format",)),
    ]


def _modes() -> list[Case]:
    ramp = np.tile(np.linspace(0, 65535, WIDTH), (HEIGHT, 1)).astype(np.uint16)
    shown = np.repeat(np.rint(ramp / 257.0)[..., None], 3, -1).astype(np.uint8)
    wide = Image.fromarray(ramp)
    whole = Image.fromarray(ramp.astype(np.int32))
    real = Image.fromarray((ramp / 65535).astype(np.float32))
    below = Image.fromarray(ramp.astype(np.int32) - 40000)
    return [
        Case("cmyk.jpg", encode(BASE.convert("CMYK"), "JPEG", quality=95), pixels=base_pixels()),
        Case("cmyk.tif", encode(BASE.convert("CMYK"), "TIFF"), pixels=base_pixels()),
        Case("grey.jpg", encode(BASE.convert("L"), "JPEG", quality=95), pixels=GREY),
        Case("palette.png", encode(BASE.quantize(256), "PNG"), pixels=base_pixels(), within=8),
        Case("one-bit.png", encode(BASE.convert("1"), "PNG")),
        Case("ycbcr.tif", encode(BASE.convert("YCbCr"), "TIFF"), pixels=base_pixels()),
        Case("lab.tif", encode(Image.new("LAB", (WIDTH, HEIGHT), (200, 128, 128)), "TIFF"), warning="nearly constant"),
        Case("16-bit.png", encode(wide, "PNG"), pixels=shown, within=0),
        Case("16-bit.tif", encode(wide, "TIFF"), pixels=shown, within=0),
        Case("16-bit-big-endian.tif", tiff_grey(ramp, 16), pixels=shown, within=0),
        Case("12-bit.tif", tiff_grey(ramp >> 4, 12), pixels=shown, within=1),
        Case("16-bit.pgm", encode(wide, "PPM"), pixels=shown, within=0),
        Case("32-bit.tif", encode(whole, "TIFF"), pixels=shown, within=0),
        Case("below-zero.tif", encode(below, "TIFF"), ("float_range_unknown",)),
        Case("float.tif", encode(real, "TIFF"), ("float_range_unknown",)),
    ]


def _transparent() -> list[Case]:
    clear = Image.new("RGBA", (WIDTH, HEIGHT), (255, 0, 0, 0))
    striped = Image.new("P", (WIDTH, HEIGHT))
    striped.putpalette([255, 0, 0, 255, 0, 0])
    striped.paste(1, (WIDTH // 2, 0, WIDTH, HEIGHT))
    keyed = Image.new("RGB", (WIDTH, HEIGHT), (0, 255, 0))
    keyed.paste((255, 0, 0), (WIDTH // 2, 0, WIDTH, HEIGHT))
    grey = Image.new("L", (WIDTH, HEIGHT), 10)
    grey.paste(76, (WIDTH // 2, 0, WIDTH, HEIGHT))
    return [
        Case("half-clear.png", encode(faded("RGBA"), "PNG"), pixels=on_white(), within=0),
        Case("half-clear.webp", encode(faded("RGBA"), "WEBP", lossless=True), pixels=on_white(), within=0),
        Case("half-clear.tif", encode(faded("RGBA"), "TIFF"), pixels=on_white(), within=0),
        Case("half-clear-grey.png", encode(faded("LA"), "PNG"), pixels=on_white((76, 76, 76)), within=1),
        Case("all-clear.png", encode(clear, "PNG"), warning="nearly constant", pixels=np.full((HEIGHT, WIDTH, 3), 255)),
        Case("clear-index.png", encode(striped, "PNG", transparency=0), pixels=on_white(), within=0),
        Case("clear-table.png", encode(striped, "PNG", transparency=b"\0\xff"), pixels=on_white(), within=0),
        Case("clear-index.gif", encode(striped, "GIF", transparency=0), pixels=on_white(), within=0),
        Case("clear-colour.png", encode(keyed, "PNG", transparency=(0, 255, 0)), pixels=on_white(), within=0),
        Case("clear-grey.png", encode(grey, "PNG", transparency=10), pixels=on_white((76, 76, 76)), within=0),
    ]


def _frames() -> list[Case]:
    rest = [Image.new("RGB", (WIDTH, HEIGHT), colour) for colour in ("red", "green", "blue")]
    many = {"save_all": True, "append_images": rest, "duration": 50}
    expected = {"warning": "first of 4 frames", "pixels": base_pixels()}
    return [
        Case("moving.gif", encode(BASE, "GIF", **many), within=8, **expected),
        Case("moving.png", encode(BASE, "PNG", **many), within=0, **expected),
        Case("moving.webp", encode(BASE, "WEBP", lossless=True, **many), within=0, **expected),
        Case("pages.tif", encode(BASE, "TIFF", save_all=True, append_images=rest), within=0, **expected),
        Case("burst.jpg", encode(BASE, "MPO", save_all=True, append_images=rest, quality=95), **expected),
    ]


def _turned() -> list[Case]:
    upright = {"pixels": base_pixels(), "within": 0}
    made = [Case(f"turned-{k}.png", turned(k, "PNG"), **upright) for k in range(1, 9)]
    made += [Case(f"turned-{k}.webp", turned(k, "WEBP", lossless=True), **upright) for k in range(1, 9)]
    made += [Case(f"turned-{k}.tif", turned(k, "TIFF"), **upright) for k in range(1, 9)]
    made += [Case(f"turned-{k}.jpg", turned(k, "JPEG", quality=95), pixels=base_pixels()) for k in range(1, 9)]
    noise = b"Exif\0\0" + np.random.default_rng(2).bytes(40)
    made.append(Case("turned-99.png", turned(99, "PNG"), **upright))
    made.append(Case("noise-as-exif.jpg", encode(BASE, "JPEG", quality=95, exif=noise), pixels=base_pixels()))
    return made


def _sizes() -> list[Case]:
    def blank(width: int, height: int) -> bytes:
        return encode(Image.new("RGB", (width, height), "teal"), "PNG")

    return [
        Case("one-pixel.png", blank(1, 1), ("too_small",)),
        Case("seven-wide.png", blank(7, 20), ("too_small",)),
        Case("eight-wide.png", blank(8, 8), warning="nearly constant"),
        Case("thread.png", blank(1, 5000), ("aspect",)),
        Case("ribbon.png", blank(5000, 1), ("aspect",)),
        Case("no-width.png", png_header(0, 10) + chunk(b"IEND", b""), ("not_an_image",)),
        Case("bomb-20000.png", png_bomb(20_000), ("too_many_pixels",)),
        Case("bomb-12000.png", png_bomb(12_000), ("too_many_pixels",)),
        Case("claim-60000.png", png_header(60_000, 60_000) + chunk(b"IDAT", bytes(100)), ("too_many_pixels",)),
        Case("claim-99999.ppm", b"P6\n99999 99999\n255\n", ("too_many_pixels",)),
        Case("text-bomb.png", png_with(b"zTXt", b"k\0\0" + zlib.compress(bytes(80_000_000))), ("corrupt",)),
        Case("profile-bomb.png", png_with(b"iCCP", b"k\0\0" + zlib.compress(bytes(80_000_000))), ("corrupt",)),
    ]


def _tails() -> list[Case]:
    jpeg = encode(BASE, "JPEG", quality=95)
    return [
        Case("zip-tail.jpg", jpeg + b"PK\x03\x04" + bytes(100), pixels=base_pixels()),
        Case("script-tail.jpg", jpeg + b"<script>alert(1)</script>", pixels=base_pixels()),
    ]


def _profiles() -> list[Case]:
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    ignored = "unreadable colour profile"
    return [
        Case("srgb.jpg", encode(BASE, "JPEG", quality=95, icc_profile=srgb), pixels=base_pixels()),
        Case("noise-as-profile.jpg", encode(BASE, "JPEG", quality=95, icc_profile=b"noise" * 20), warning=ignored),
        *(Case(f"profile-{kind}.tif", _tiff_with_profile(kind, value), warning=ignored) for kind, value in _VALUES),
    ]


_VALUES = ((2, "text"), (3, 5), (4, 2**31), (5, TiffImagePlugin.IFDRational(1, 3)), (11, 1.5))  # types of TIFF tags


def _tiff_with_profile(kind: int, value: Any) -> bytes:
    tags = TiffImagePlugin.ImageFileDirectory_v2()
    tags[34675], tags.tagtype[34675] = value, kind
    return encode(BASE, "TIFF", tiffinfo=tags)


# ----------------------------------------------------------- names and file-system entries


def write_names(folder: Path, data: bytes) -> dict[Path, str]:
    """Write pictures of the same content under odd names; the value is "ok", or "hidden" for a dot file.

    Names that the file system refuses or folds into another are left out.
    """
    plain = ["☃ 'quotes' \"$(x)\".png", "n" * 245 + ".png", "two\nlines.png", "-rf.png", "case.png", "CASE.png"]
    twins = [unicodedata.normalize(form, "café.png") for form in ("NFC", "NFD")]
    names = [os.fsencode(name) for name in (*plain, *twins, ".hidden.png", "a\tb.png")] + [b"\xff\xfe.png"]
    written: dict[Path, str] = {}
    for name in names:
        path = folder / os.fsdecode(name)
        try:
            if not path.exists():
                path.write_bytes(data)
                written[path] = "hidden" if name.startswith(b".") else "ok"
        except OSError:
            continue
    return written


def write_nodes(folder: Path, data: bytes) -> dict[Path, str]:
    """Make entries that are named like pictures and are none; the value is the code of their refusal.

    The unreadable file is left out for root, who reads everything.
    """
    outside = folder.parent / f"outside-of-{folder.name}.png"
    outside.write_bytes(data)
    (folder / "folder.jpg").mkdir()
    (folder / "dangling.png").symlink_to(folder / "nowhere.png")
    (folder / "loop.png").symlink_to(folder / "loop.png")
    (folder / "outside.png").symlink_to(outside)
    os.mkfifo(folder / "pipe.png")
    links = {folder / name: "link" for name in ("dangling.png", "loop.png", "outside.png")}
    made = {folder / "folder.jpg": "not_a_file", folder / "pipe.png": "not_a_file", **links}
    if os.geteuid() != 0:
        secret = folder / "secret.png"
        secret.write_bytes(data)
        secret.chmod(0)
        made[secret] = "unreadable"
    return made
