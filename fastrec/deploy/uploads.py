"""A request's pictures: from a form or from the bare body, with names that can do no harm."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from tempfile import SpooledTemporaryFile
from typing import IO

from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.requests import Request

from fastrec.deploy.replies import Refusal

FIELD = "file"
MAX_FILES, MAX_FIELDS = 16, 8
IN_MEMORY = 2**20  # longer pictures wait for their turn on disk
_SEND = f"send pictures in the form field {FIELD!r} (multipart/form-data), or one as the body with its image/* type"


@dataclass(frozen=True)
class Upload:
    """One picture as it was sent: its harmless name and its bytes, not yet looked at."""

    name: str
    stream: IO[bytes]

    def read(self) -> bytes:
        """Return all bytes."""
        self.stream.seek(0)
        return self.stream.read()


@asynccontextmanager
async def reading(request: Request) -> AsyncIterator[list[Upload]]:
    """Receive the pictures of a request; their temporary files are gone after the block.

    Raises
    ------
    Refusal
        400 for a broken form, or none or too many pictures; 415 for another kind of body.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind == "multipart/form-data":
        reader = _form(request)
    elif kind.startswith("image/") or kind == "application/octet-stream":
        reader = _body(request)
    else:
        raise Refusal(415, "unsupported_media_type", f"a body of type {kind or 'unknown'!r} is not taken", _SEND)
    async with reader as uploads:
        yield uploads


@asynccontextmanager
async def _form(request: Request) -> AsyncIterator[list[Upload]]:
    try:
        form = await request.form(max_files=MAX_FILES, max_fields=MAX_FIELDS, max_part_size=64 * 2**10)
    except Refusal:
        raise
    except HTTPException as error:
        raise Refusal(400, "malformed_multipart", f"the form is broken: {error.detail}", _SEND, field=FIELD) from error
    try:
        files = [value for value in form.getlist(FIELD) if isinstance(value, UploadFile)]
        if not files:
            raise Refusal(400, "no_file", f"the form has no file in {FIELD!r}, or ends too early", _SEND, field=FIELD)
        yield [Upload(harmless(file.filename), file.file) for file in files]
    finally:
        await form.close()


@asynccontextmanager
async def _body(request: Request) -> AsyncIterator[list[Upload]]:
    with SpooledTemporaryFile(max_size=IN_MEMORY) as stream:
        async for chunk in request.stream():
            stream.write(chunk)
        yield [Upload(harmless(request.query_params.get("name")), stream)]


def harmless(name: str | None) -> str:
    """Return the last part of a sender's file name, printable and at most 100 characters long."""
    last = (name or "").replace("\\", "/").rsplit("/", 1)[-1]
    shown = "".join(c if c.isprintable() else "?" for c in last).strip()
    return shown[:60] + "…" + shown[-39:] if len(shown) > 100 else shown or "picture"
