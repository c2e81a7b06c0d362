"""Requests that are refused before anyone looks at a picture: too large, too slow, foreign, malformed."""

from __future__ import annotations

import asyncio
import io
import json

import pytest
from asking import HOST, client_of, refused, send
from starlette.testclient import TestClient

from fastrec.deploy import guard
from fastrec.deploy.guard import MAX_BODY
from fastrec.deploy.replies import Refusal, problem


@pytest.fixture(scope="module")
def client(package_folder):
    with client_of(package_folder) as client:
        yield client


@pytest.fixture
def picture(photo, encode):
    return encode(photo(40, 30))


def test_form_without_a_file_is_refused(client, picture):
    refused(client.post("/predict", files={"other": ("a.png", picture)}), 400, "no_file")
    refused(client.post("/predict", files={"other": (None, "text")}), 400, "no_file")
    assert refused(client.post("/predict", files={"file": (None, "text")}), 400, "no_file")["field"] == "file"


FORMS = [
    ("multipart/form-data", b"x"),
    ("multipart/form-data; boundary=b", b"garbage"),
    ("multipart/form-data; boundary=b", b"--b\r\nContent-Disposition: form-data\r\n\r\nx\r\n--b--\r\n"),
    ("multipart/form-data; boundary=b", b'--b\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\nxx'),
]


@pytest.mark.filterwarnings("ignore:Exception ignored in")  # Starlette leaves the last form's part to the collector
@pytest.mark.parametrize(("kind", "body"), FORMS)
def test_malformed_forms_are_refused(client, kind, body):
    reply = client.post("/predict", content=body, headers={"content-type": kind})
    assert reply.status_code == 400
    refused(reply, 400, reply.json()["code"])
    assert reply.json()["code"] in ("malformed_multipart", "no_file")


def test_too_many_parts_are_refused(client, picture):
    refused(client.post("/predict", files=[("file", ("a", picture))] * 17), 400, "malformed_multipart")
    fields = {f"f{n}": (None, "x") for n in range(9)}
    refused(client.post("/predict", files=fields), 400, "malformed_multipart")


@pytest.mark.parametrize("kind", ["text/plain", "application/json", "", "application/x-www-form-urlencoded"])
def test_other_bodies_are_refused(client, kind):
    headers = {"content-type": kind} if kind else {}
    refused(client.post("/predict", content=b"file=x", headers=headers), 415, "unsupported_media_type")


def test_unusable_source_is_refused(client, picture):
    content = refused(send(client, picture, params={"source": "A b;"}), 422, "invalid_field")
    assert content["field"] == "source"


ADDRESSES = [("get", "/nothing", 404), ("get", "/predict", 405), ("post", "/", 405), ("get", "/docs", 404)]
ADDRESSES += [("get", "/static/../model.json", 404), ("get", "/static/%2e%2e/model.json", 404), ("put", "/ready", 405)]
ADDRESSES += [("get", "/static/..%2fmodel.json", 404), ("get", "/static/%00", 404), ("get", "/static/", 404)]


@pytest.mark.parametrize(("method", "path", "status"), ADDRESSES)
def test_unknown_addresses_and_methods(client, method, path, status):
    refused(client.request(method, path), status, {404: "not_found", 405: "method_not_allowed"}[status])


def test_too_large_by_header_and_by_counting(client):
    head = {"content-type": "image/png", "content-length": str(MAX_BODY + 1)}
    refused(client.post("/predict", content=b"x", headers=head), 413, "too_large")

    def chunks():
        for _ in range(MAX_BODY // 2**20 + 1):
            yield b"x" * 2**20

    refused(client.post("/predict", content=chunks(), headers={"content-type": "image/png"}), 413, "too_large")
    refused(send(client, io.BytesIO(b"x" * (MAX_BODY + 1))), 413, "too_large")


def test_slow_body_is_refused(monkeypatch):
    """Asked below HTTP, where a body can be made to never come."""
    monkeypatch.setattr(guard, "BODY_SECONDS", 0.05)
    monkeypatch.setattr(guard, "DRAIN_SECONDS", 0.05)
    sent = []

    async def receive():
        await asyncio.Event().wait()

    async def send_on(message):
        sent.append(message)

    async def application(scope, receive, send):
        try:
            await receive()
        except Refusal as refusal:
            await problem(refusal)(scope, receive, send)

    headers = [(b"host", b"127.0.0.1"), (b"content-length", b"10")]
    scope = {"type": "http", "method": "POST", "path": "/predict", "headers": headers}
    asyncio.run(guard.Guard(application)(scope, receive, send_on))
    assert sent[0]["status"] == 408
    assert (b"connection", b"close") in sent[0]["headers"]
    assert b"too_slow" in b"".join(message.get("body", b"") for message in sent)
    assert not sent[-1].get("more_body")


@pytest.mark.parametrize(
    "host", ["evil.example", "127.0.0.1.evil.example", "evil.example:80", "[::2]", "[", "[::1", "", "a b", "a:b"]
)
def test_foreign_hosts_are_refused(client, host):
    refused(client.get("/ready", headers={"host": host}), 400, "unknown_host")


@pytest.mark.parametrize("host", ["localhost", "localhost:8000", "127.0.0.1:1", "[::1]:8000"])
def test_own_hosts_are_served(client, host):
    assert client.get("/ready", headers={"host": host}).status_code == 200


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "http://127.0.0.1:99", "http://[", "", "\x7f"])
def test_pages_of_other_sites_may_not_post(client, picture, origin):
    refused(send(client, picture, headers={"origin": origin}), 403, "foreign_origin")
    assert send(client, picture, headers={"origin": HOST}).status_code == 200


def test_token_is_asked_of_posts_only(package_folder, picture):
    with client_of(package_folder, token="secret") as client:
        for wrong in ("", "Bearer", "Bearer wrong", "Basic secret", "Bearer sécret"):
            reply = send(client, picture, headers={"authorization": wrong.encode()} if wrong else {})
            refused(reply, 401, "unauthorized")
            assert reply.headers["www-authenticate"] == "Bearer"
        assert send(client, picture, headers={"authorization": "Bearer secret"}).status_code == 200
        assert client.get("/ready").status_code == 200
        refused(client.post("/feedback", json={}), 401, "unauthorized")


def test_full_queue_says_come_back(package_folder, picture):
    with client_of(package_folder) as client:
        client.app.state.serving.pool.jobs = 10_000
        reply = send(client, picture)
        refused(reply, 503, "busy")
        assert reply.headers["retry-after"] == "1"
        client.app.state.serving.pool.jobs = 0
        assert send(client, picture).status_code == 200


def test_unexpected_fault_is_json_without_its_details(package_folder, picture, monkeypatch):
    with client_of(package_folder) as client:
        predictor = client.app.state.serving.predictor
        monkeypatch.setattr(predictor, "predict", lambda data: 1 / 0)
        quiet = TestClient(client.app, base_url=HOST, raise_server_exceptions=False)
        content = refused(send(quiet, picture), 500, "internal_error")
        assert "division" not in json.dumps(content)
