"""What the service says: answers, refusals, and how every error becomes the same small JSON object."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict
from starlette.exceptions import HTTPException


class Reply(BaseModel):
    """The answer for one picture."""

    id: str
    file: str
    label: str
    score: float
    scores: dict[str, float]
    warnings: list[str]
    milliseconds: float
    bundle: str
    model_sha256: str


class SeveralLabels(Reply):
    """The answer of a model whose pictures may have several labels, or none: ``label`` holds them joined by ``|``."""

    labels: list[str]


class Problem(BaseModel):
    """Why a request, or one of its pictures, was refused."""

    code: str
    message: str
    file: str | None = None
    field: str | None = None
    hint: str


class Replies(BaseModel):
    """The answers for several pictures of one request, in its order."""

    predictions: list[SeveralLabels | Reply | Problem]


class Feedback(BaseModel):
    """A person's word on an earlier answer: a class, or where pictures have several their list or joined text."""

    model_config = ConfigDict(extra="forbid")

    id: str
    label: str | list[str]


class Refusal(HTTPException):
    """A request that is refused; raised anywhere, answered as a `Problem`."""

    def __init__(
        self, status: int, code: str, message: str, hint: str, headers: Mapping[str, str] | None = None, **place: str
    ) -> None:
        super().__init__(status, message, dict(headers or {}))
        self.content = Problem(code=code, message=message, hint=hint, **place)


_PICTURE_STATUS = {"unsupported_format": 415, "unsupported_mode": 415, "too_many_bytes": 413}  # else 422
_PLAIN = {
    404: ("not_found", "this address does not exist", "see /openapi.json for those that do"),
    405: ("method_not_allowed", "this address does not take this method", "see /openapi.json for those it takes"),
}


def refused_picture(content: Mapping[str, str]) -> Refusal:
    """Turn what `fastrec.deploy.predictor.refusal` says of a picture into a refusal with its status."""
    status = _PICTURE_STATUS.get(content["code"], 422)
    return Refusal(status, content["code"], content["message"], content["hint"], file=content["file"])


def problem(refusal: Refusal) -> JSONResponse:
    """Write a refusal as JSON, with its status and headers."""
    content = refusal.content.model_dump(exclude_none=True)
    return JSONResponse(content, refusal.status_code, headers=dict(refusal.headers or {}))


def answer_errors(app: FastAPI) -> None:
    """Make every error of an app a `Problem`."""
    app.add_exception_handler(HTTPException, _http_error)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(Exception, _unexpected)


async def _http_error(_request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    if isinstance(error, Refusal):
        return problem(error)
    code, message, hint = _PLAIN.get(error.status_code, ("refused", str(error.detail), "see /openapi.json"))
    return problem(Refusal(error.status_code, code, message, hint, error.headers))


async def _invalid(_request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    return problem(invalid(error.errors()[0]))


def invalid(first: Mapping[str, Any]) -> Refusal:
    """Turn pydantic's first complaint into a refusal that names the field."""
    if first["type"] == "json_invalid":
        return Refusal(400, "malformed_json", "the body is not JSON", 'send {"id": ..., "label": ...}')
    field = ".".join(str(part) for part in first["loc"] if part not in ("body", "query")) or "body"
    return Refusal(422, "invalid_field", f"{field} is not usable", str(first["msg"]), field=field)


async def _unexpected(_request: Request, _error: Exception) -> JSONResponse:
    return problem(Refusal(500, "internal_error", "the service failed on this request", "tell who runs it; try again"))
