"""What every request passes first: who may ask, how much they may send, and how long they may take."""

from __future__ import annotations

import asyncio
import hmac
import re
from collections.abc import Collection
from dataclasses import dataclass

from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from fastrec.deploy.pool import busy
from fastrec.deploy.replies import Refusal, problem

MAX_BODY = 32 * 2**20
BODY_SECONDS = 30.0
DRAIN_SECONDS = 2.0
MAX_REQUESTS = 512  # open at once; uploads lie on disk, so this bounds files rather than memory
HEADERS = {
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-store",
}


@dataclass
class Guard:
    """ASGI middleware: host, origin and token are checked, the body is counted and timed.

    Attributes
    ----------
    app
        What it guards.
    hosts
        Names that the ``Host`` header may give (against DNS rebinding); empty allows any.
    token
        What POST requests must bear; None asks for nothing.
    """

    app: ASGIApp
    hosts: Collection[str] = ()
    token: str | None = None
    open: int = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or answer it with a refusal."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        request = Request(scope)
        body = _Body(request, receive)
        self.open += 1
        try:
            refusal = self._inspect(request)
            inner: ASGIApp = problem(refusal) if refusal else self.app
            await inner(scope, body.receive, _Reply(body, send).send)
        finally:
            self.open -= 1

    def _inspect(self, request: Request) -> Refusal | None:
        if self.hosts and host_name(request.headers.get("host", "")) not in self.hosts:
            return Refusal(400, "unknown_host", "the Host header names another host", "call it by its own address")
        if self.open > MAX_REQUESTS:
            return busy()
        if request.method not in ("GET", "HEAD"):
            return self._inspect_change(request)
        return None

    def _inspect_change(self, request: Request) -> Refusal | None:
        origin = request.headers.get("origin")
        if origin is not None and origin.partition("://")[2] != request.headers.get("host"):
            return Refusal(403, "foreign_origin", "another site's page sent this", "use the service's own page")
        scheme, _, given = request.headers.get("authorization", "").partition(" ")
        if self.token and not (scheme.lower() == "bearer" and hmac.compare_digest(given.encode(), self.token.encode())):
            message, hint = "this request bears no valid token", "send the header Authorization: Bearer TOKEN"
            return Refusal(401, "unauthorized", message, hint, {"www-authenticate": "Bearer"})
        length = request.headers.get("content-length", "0")
        if length.isascii() and length.isdigit() and int(length[:20]) > MAX_BODY:
            return _too_large()
        return None


def host_name(header: str) -> str:
    """Return the name or address that a ``Host`` header gives, without its port; empty where it is malformed."""
    found = re.fullmatch(r"(?:\[([0-9a-fA-F:.]+)\]|([0-9a-zA-Z._-]+))(?::\d{1,5})?", header, re.ASCII)
    return (found[1] or found[2]).lower() if found else ""


def _too_large() -> Refusal:
    return Refusal(413, "too_large", f"the request is over {MAX_BODY} bytes", "send fewer or smaller pictures")


class _Body:
    """A request's body, counted and timed while it is received."""

    def __init__(self, request: Request, receive: Receive) -> None:
        headers = request.headers
        self.unread = headers.get("content-length", "0") != "0" or "transfer-encoding" in headers
        self._receive = receive
        self._count = 0
        self._deadline = asyncio.get_running_loop().time() + BODY_SECONDS

    async def receive(self) -> Message:
        if not self.unread:
            return await self._receive()
        try:
            async with asyncio.timeout_at(self._deadline):
                message = await self._receive()
        except TimeoutError:
            hint = "send it again over a faster line, or make it smaller"
            raise Refusal(408, "too_slow", f"the body did not come in {BODY_SECONDS:.0f} seconds", hint) from None
        self._count += len(message.get("body", b""))
        self.unread = message["type"] == "http.request" and message.get("more_body", False)
        if self._count > MAX_BODY:
            raise _too_large()
        return message

    async def drain(self) -> None:
        """Take what the client still sends for a moment: closing on it would lose the reply on its way."""
        try:
            async with asyncio.timeout(DRAIN_SECONDS):
                while self.unread:
                    message = await self._receive()
                    self.unread = message["type"] == "http.request" and message.get("more_body", False)
        except TimeoutError:
            pass


@dataclass
class _Reply:
    """A reply on its way out: security headers, and an orderly end where the body was not read."""

    body: _Body
    onward: Send

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(raw=message.setdefault("headers", []))
            for name, value in HEADERS.items():
                headers[name] = value
            if self.body.unread:
                headers["connection"] = "close"
        elif self.body.unread and not message.get("more_body", False):
            await self.onward({**message, "more_body": True})
            await self.body.drain()
            message = {"type": "http.response.body"}
        await self.onward(message)
