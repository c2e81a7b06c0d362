"""uvicorn with the patience of a busy counter: nobody keeps a connection by saying nothing."""

from __future__ import annotations

import asyncio
import ipaddress
import socket

import h11
import uvicorn
from fastapi import FastAPI
from uvicorn.protocols.http.h11_impl import H11Protocol

from fastrec.files import FastrecError

HEADER_SECONDS = 10.0
KEEP_ALIVE_SECONDS = 5
GRACE_SECONDS = 5  # for requests in flight after SIGTERM; a stalled upload is cut then


class Patient(H11Protocol):
    """uvicorn's HTTP protocol with an end to waiting for a request's headers."""

    _timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start to wait for headers."""
        super().connection_made(transport)
        self._wait()

    def data_received(self, data: bytes) -> None:
        """Go on waiting, from the first moment on, until the headers are whole."""
        super().data_received(data)
        if self.conn.their_state is not h11.IDLE:
            self._stop()
        elif self._timer is None:
            self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait no more."""
        self._stop()
        super().connection_lost(exc)

    def _wait(self) -> None:
        self._timer = self.loop.call_later(HEADER_SECONDS, self.transport.abort)

    def _stop(self) -> None:
        if self._timer:
            self._timer.cancel()
            self._timer = None


def is_loopback(host: str) -> bool:
    """Say whether only this machine can reach ``host``."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def listen(host: str, port: int, token: str | None) -> socket.socket:
    """Open the port; beyond this machine only with a token.

    Raises
    ------
    FastrecError
        If there is no token, or the address cannot be had.
    """
    if not is_loopback(host) and not token:
        raise FastrecError(f"host {host} reaches beyond this machine: set FASTREC_TOKEN, or take --host 127.0.0.1.")
    if not 0 <= port <= 65535:  # the resolver would take it modulo 65536
        raise FastrecError(f"port {port} does not exist: choose one of 0 to 65535 with --port.")
    try:
        family, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        listener = socket.create_server(address[:2], family=family)
    except OSError as error:
        raise FastrecError(f"{host} port {port} cannot be opened ({error}): choose another with --port.") from error
    # asyncio does not do so for a socket made by others; without it each answer waits 40 ms for an acknowledgement
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listener


class _Announced(uvicorn.Server):
    """A server that says on standard output where it is, once it is ready and heeds signals."""

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to answer, then say so: whoever reads it may send a request, or an interrupt, at once."""
        await super().startup(sockets)
        if self.started and sockets:
            host, port = sockets[0].getsockname()[:2]
            print(f"fastrec serves http://{f'[{host}]' if ':' in host else host}:{port}", flush=True)


def run(app: FastAPI, listener: socket.socket) -> None:
    """Serve on an open port until a signal ends it; says where on standard output."""
    config = uvicorn.Config(
        app,
        http=Patient,
        loop="asyncio",
        ws="none",
        lifespan="on",
        log_level="warning",
        access_log=False,
        server_header=False,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=GRACE_SECONDS,
    )
    _Announced(config).run(sockets=[listener])
