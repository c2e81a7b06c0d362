"""The service: a page to try the model, and the same answers for programs."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from fastapi import APIRouter, FastAPI, Query, Request
from fastapi.responses import FileResponse, PlainTextResponse
from fastapi.staticfiles import StaticFiles
from prometheus_client import CONTENT_TYPE_LATEST
from pydantic import ValidationError
from starlette.requests import ClientDisconnect

from fastrec.deploy.gauges import Gauges
from fastrec.deploy.guard import Guard
from fastrec.deploy.pool import Pool
from fastrec.deploy.predictor import Predictor
from fastrec.deploy.recorder import Recorder
from fastrec.deploy.replies import (
    Feedback,
    Problem,
    Refusal,
    Replies,
    Reply,
    SeveralLabels,
    answer_errors,
    invalid,
)
from fastrec.deploy.serving import Serving
from fastrec.deploy.uploads import FIELD, reading
from fastrec.files import FastrecError

LOOPBACK = ("localhost", "127.0.0.1", "::1")
PAGE = "web"
QUEUE = 32  # requests that may wait for a thread

router = APIRouter()
Source = Annotated[str, Query(pattern="^[a-z0-9][a-z0-9-]{0,19}$", description="who asks; kept in the log")]


def _serving(request: Request) -> Serving:
    serving: Serving = request.app.state.serving
    return serving


def _problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    return {status: {"model": Problem} for status in statuses}


_PICTURES = {
    "type": "object",
    "properties": {FIELD: {"type": "array", "items": {"type": "string", "format": "binary"}}},
}
_PICTURE = {"schema": {"type": "string", "format": "binary"}}
_PREDICT_BODY = {
    "required": True,
    "content": {"multipart/form-data": {"schema": {**_PICTURES, "required": [FIELD]}}, "image/*": _PICTURE},
}
_FEEDBACK_BODY = {"required": True, "content": {"application/json": {"schema": Feedback.model_json_schema()}}}


@router.post(
    "/predict",
    response_model=SeveralLabels | Reply | Replies,
    responses=_problems(400, 401, 403, 408, 413, 415, 422, 503),
    openapi_extra={"requestBody": _PREDICT_BODY},
)
async def predict(request: Request, source: Source = "api") -> Reply | Replies:
    """Name what is on one picture, or on up to 16: several come back as a list with one entry each."""
    serving = _serving(request)
    try:
        async with reading(request) as uploads:
            answers = await serving.pool.run(serving.answer_all, uploads, source)
    except ClientDisconnect:
        raise Refusal(400, "disconnected", "the client went away", "send the request again") from None
    if len(answers) > 1:
        return Replies(predictions=[a.content if isinstance(a, Refusal) else a for a in answers])
    if isinstance(answers[0], Refusal):
        raise answers[0]
    return answers[0]


@router.post(
    "/feedback",
    responses=_problems(400, 401, 403, 404, 408, 413, 422, 503),
    openapi_extra={"requestBody": _FEEDBACK_BODY},
)
async def feedback(request: Request) -> Feedback:
    """Keep the right label for an earlier answer; the last word on it wins."""
    serving = _serving(request)
    try:
        given = Feedback.model_validate_json(await request.body())
    except ValidationError as error:
        raise invalid(error.errors(include_url=False)[0]) from error
    label = serving.checked(given.label)
    if serving.recorder is None:
        raise Refusal(503, "no_log", "this service keeps no log", "start it with --log")
    try:
        known = await serving.pool.run(serving.recorder.feedback, given.id, label)
    except FastrecError as error:
        raise Refusal(503, "log_unavailable", str(error), "try again later", {"retry-after": "5"}) from error
    if not known:
        raise Refusal(404, "unknown_id", "no answer has this id", "send the id of an answer", field="id")
    return Feedback(id=given.id, label=label)


@router.get("/", include_in_schema=False)
async def page(request: Request) -> FileResponse:
    """Give a person the page to try the model."""
    return FileResponse(_serving(request).predictor.folder / PAGE / "index.html")


@router.get("/live")
async def live() -> dict[str, bool]:
    """Say that the process runs."""
    return {"live": True}


@router.get("/ready")
@router.get("/health")
async def ready(request: Request) -> dict[str, Any]:
    """Say whether answers can be given, and by which model."""
    serving = _serving(request)
    return {"ready": True, "live": True, "state": serving.state(), "model_sha256": serving.predictor.sha256}


@router.get("/model")
async def model(request: Request) -> dict[str, Any]:
    """Describe the model: its classes, its picture size, and where it came from."""
    predictor = _serving(request).predictor
    bundle = predictor.record["bundle"]
    return {
        "bundle": predictor.label,
        "run": bundle["run"],
        "architecture": bundle["architecture"],
        "classes": predictor.classes,
        "multi_label": predictor.multi_label,
        "thresholds": predictor.thresholds,
        "size": predictor.size,
        "resize": predictor.rule,
        "model_sha256": predictor.sha256,
    }


@router.get("/metrics", response_class=PlainTextResponse)
async def metrics(request: Request) -> PlainTextResponse:
    """Give Prometheus its figures."""
    return PlainTextResponse(_serving(request).gauges.text(), media_type=CONTENT_TYPE_LATEST)


def create_app(
    package: Path,
    log_url: str | None = None,
    *,
    hosts: Collection[str] = LOOPBACK,
    token: str | None = None,
    workers: int = 0,
) -> FastAPI:
    """Make the service of a package, its model loaded and tried.

    Parameters
    ----------
    package
        A package folder, as `fastrec.deploy.package.build` writes it.
    log_url
        Database of predictions; None keeps none.
    hosts
        Names allowed in the ``Host`` header; empty allows any.
    token
        What POST requests must bear.
    workers
        How many pictures are answered at once; 0 takes one per processor.

    Raises
    ------
    FastrecError
        If the package is broken or the log cannot be opened.
    """
    predictor = Predictor(package)
    predictor.scores(np.zeros((predictor.size, predictor.size, 3), np.uint8))
    recorder = Recorder(log_url) if log_url else None
    pool = Pool(workers or os.cpu_count() or 1, QUEUE)
    serving = Serving(predictor, recorder, pool, Gauges(pool, recorder))
    app = FastAPI(title="fastrec", version=predictor.sha256[:12], docs_url=None, redoc_url=None, lifespan=_lifespan)
    app.state.serving = serving
    app.include_router(router)
    app.mount("/static", StaticFiles(directory=predictor.folder / PAGE))
    app.add_middleware(Guard, hosts=hosts, token=token)
    answer_errors(app)
    return app


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    yield
    serving: Serving = app.state.serving
    serving.pool.close()
    if serving.recorder:
        serving.recorder.close()


def serve(package: Path, host: str = "127.0.0.1", port: int = 8000, log_url: str | None = None) -> None:
    """Serve a package until SIGTERM or Ctrl-C; ``FASTREC_TOKEN`` in the environment asks for a token.

    Raises
    ------
    FastrecError
        If the address is taken, or reaches beyond this machine without a token.
    """
    from fastrec.deploy.server import is_loopback, listen, run

    token = os.environ.get("FASTREC_TOKEN") or None
    with listen(host, port, token) as listener:
        near = is_loopback(listener.getsockname()[0])
        app = create_app(package, log_url, hosts={*LOOPBACK, host} if near else (), token=token)
        run(app, listener)
