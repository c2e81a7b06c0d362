from __future__ import annotations

import asyncio
import io
import json
import sqlite3
import time
from contextlib import contextmanager

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from starlette.testclient import TestClient

from fastrec.deploy import guard, recorder, service, uploads
from fastrec.deploy.guard import MAX_BODY
from fastrec.deploy.replies import Refusal, problem

HOST = "http://127.0.0.1"


@contextmanager
def client_of(package, log_url=None, **options):
    with TestClient(service.create_app(package, log_url, **options), base_url=HOST) as client:
        yield client


@pytest.fixture(scope="module")
def log_file(tmp_path_factory):
    return tmp_path_factory.mktemp("log") / "predictions.db"


@pytest.fixture(scope="module")
def client(package_folder, log_file):
    with client_of(package_folder, recorder.file_url(log_file)) as client:
        yield client


@pytest.fixture
def picture(photo, encode):
    return encode(photo(40, 30))


def rows(client, log_file):
    client.app.state.serving.recorder.flush(5)
    connection = sqlite3.connect(log_file)
    connection.row_factory = sqlite3.Row
    found = [dict(row) for row in connection.execute("select * from predictions order by rowid")]
    connection.close()
    return found


def soon(condition, seconds=10.0):
    """Wait until ``condition()`` holds; fail when it does not."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def refused(reply, status, code):
    """Make sure that a reply is a refusal in the service's own form."""
    assert reply.status_code == status, reply.text
    content = reply.json()
    assert content["code"] == code
    assert {"code", "message", "hint"} <= content.keys() <= {"code", "message", "hint", "file", "field"}
    assert content["message"]
    assert content["hint"]
    return content


def send(client, data, name="a.png", **more):
    return client.post("/predict", files={"file": (name, data)}, **more)


# ------------------------------------------------------------------------------ answers


def test_answer_carries_what_the_contract_names(client, picture, classes):
    answer = send(client, picture).json()
    wanted = {"id", "label", "score", "scores", "warnings", "milliseconds", "model_sha256", "file", "bundle"}
    assert answer.keys() == wanted
    assert list(answer["scores"]) == classes
    assert answer["score"] == max(answer["scores"].values())
    assert answer["model_sha256"] == client.get("/ready").json()["model_sha256"]


def test_bare_body_answers_like_the_form(client, picture):
    bare = client.post("/predict?name=b.png", content=picture, headers={"content-type": "image/png"}).json()
    form = send(client, picture).json()
    assert bare["scores"] == form["scores"]
    assert bare["file"] == "b.png"
    assert bare["id"] != form["id"]


def test_bytes_decide_and_not_the_declared_type(client, picture):
    reply = client.post("/predict", files={"file": ("a.txt", picture, "text/html")})
    assert reply.status_code == 200


def test_several_pictures_come_back_in_order_with_their_refusals(client, picture):
    files = [("file", ("a.png", picture)), ("file", ("b.png", b"nothing")), ("file", ("c.png", picture))]
    content = client.post("/predict", files=files).json()
    assert [entry.get("code") for entry in content["predictions"]] == [None, "not_an_image", None]
    assert [entry["file"] for entry in content["predictions"]] == ["a.png", "b.png", "c.png"]


def test_log_has_a_row_for_each_picture(client, log_file, picture):
    answer = send(client, picture, "x/../deep.png", params={"source": "self-test"}).json()
    refused(send(client, picture[:200], "cut.png"), 422, "truncated")
    kept, cut = rows(client, log_file)[-2:]
    assert (kept["id"], kept["predicted"], kept["source"], kept["code"]) == (
        answer["id"],
        answer["label"],
        "self-test",
        None,
    )
    assert kept["path"] == "deep.png"
    assert json.loads(kept["scores"]) == pytest.approx(answer["scores"])
    assert (kept["width"], kept["height"]) == (40, 30)
    assert kept["model_sha256"] == answer["model_sha256"]
    assert kept["time"].endswith("+00:00")
    assert (cut["predicted"], cut["code"], cut["path"]) == (None, "truncated", "cut.png")


# ------------------------------------------------------------------- pictures refused

PICTURES = [
    (b"", 422, "empty_file"),
    (b"\x00" * 500, 422, "not_an_image"),
    (b"<html>", 422, "not_an_image"),
    (b"%!PS-Adobe-3.0 EPSF", 415, "unsupported_format"),
]


@pytest.mark.parametrize(("data", "status", "code"), PICTURES)
def test_what_is_no_picture_is_refused_by_name(client, data, status, code):
    content = refused(send(client, data, "x.jpg"), status, code)
    assert content["file"] == "x.jpg"
    assert content["message"].startswith("x.jpg ")


def test_broken_pictures_are_refused(client, photo, encode):
    jpeg, png = encode(photo(64, 64), "JPEG"), bytearray(encode(photo(64, 64)))
    refused(send(client, jpeg[: len(jpeg) // 2]), 422, "truncated")
    png[len(png) // 2] ^= 255
    refused(send(client, bytes(png)), 422, "corrupt")
    refused(send(client, encode(photo(40, 40)[:2, :2])), 422, "too_small")


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.binary(max_size=300), at=st.integers(0, 2000))
def test_no_bytes_whatever_break_the_service(client, picture, data, at):
    reply = send(client, picture[:at] + data + picture[at + len(data) :])
    assert reply.status_code in (200, 413, 415, 422)
    assert "label" in reply.json() or "code" in reply.json()


NAMES = ["../../etc/passwd", "..\\..\\x.png", "a\nb\x00c.png", "n" * 400 + ".png", "😀 \u202e.png", "<img src=x>.png"]


@pytest.mark.parametrize("name", NAMES)
def test_names_are_cut_and_harmless(client, picture, name):
    shown = send(client, picture, name).json()["file"]
    assert 0 < len(shown) <= 100
    assert "/" not in shown
    assert "\\" not in shown
    assert shown.isprintable()


@given(st.none() | st.text())
def test_any_name_becomes_harmless(name):
    shown = uploads.harmless(name)
    assert 0 < len(shown) <= 100
    assert shown.isprintable()
    assert not set("/\\") & set(shown)


# ------------------------------------------------------------------- requests refused


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


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "evil.example:80", "[::2]"])
def test_foreign_hosts_are_refused(client, host):
    refused(client.get("/ready", headers={"host": host}), 400, "unknown_host")


@pytest.mark.parametrize("host", ["localhost", "localhost:8000", "127.0.0.1:1", "[::1]:8000"])
def test_own_hosts_are_served(client, host):
    assert client.get("/ready", headers={"host": host}).status_code == 200


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "http://127.0.0.1:99"])
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


# ----------------------------------------------------------------------------- feedback


def test_feedback_is_kept_and_the_last_word_wins(client, log_file, picture, classes):
    answer = send(client, picture).json()
    for label in classes[:2]:
        reply = client.post("/feedback", json={"id": answer["id"], "label": label})
        assert reply.json() == {"id": answer["id"], "label": label}
    row = next(row for row in rows(client, log_file) if row["id"] == answer["id"])
    assert row["feedback"] == classes[1]
    assert row["feedback_time"] >= row["time"]


def test_unusable_feedback_is_refused(client, picture, classes):
    answer = send(client, picture).json()
    refused(client.post("/feedback", json={"id": "none", "label": classes[0]}), 404, "unknown_id")
    refused(client.post("/feedback", json={"id": answer["id"], "label": "tiger"}), 422, "unknown_label")
    refused(client.post("/feedback", content=b"{"), 400, "malformed_json")
    refused(client.post("/feedback", content=b"\xff"), 400, "malformed_json")
    assert refused(client.post("/feedback", json={"id": 3, "label": "a"}), 422, "invalid_field")["field"] == "id"
    assert refused(client.post("/feedback", json={"id": "x"}), 422, "invalid_field")["field"] == "label"
    extra = {"id": "x", "label": "a", "admin": True}
    assert refused(client.post("/feedback", json=extra), 422, "invalid_field")["field"] == "admin"
    refused(client.post("/feedback", json=[]), 422, "invalid_field")


def test_without_a_log_answers_come_and_feedback_is_refused(package_folder, picture, classes):
    with client_of(package_folder) as client:
        answer = send(client, picture).json()
        refused(client.post("/feedback", json={"id": answer["id"], "label": classes[0]}), 503, "no_log")


def test_broken_log_never_breaks_answers(package_folder, tmp_path, picture, monkeypatch, classes):
    with client_of(package_folder, recorder.file_url(tmp_path / "x.db")) as client:
        log = client.app.state.serving.recorder
        (tmp_path / "x.db").unlink()
        (tmp_path / "x.db").mkdir()
        for _ in range(3):
            answer = send(client, picture)
            assert answer.status_code == 200
        soon(lambda: log.failing)
        assert client.get("/ready").json()["state"] == "degraded"
        assert "fastrec_log_failing 1.0" in client.get("/metrics").text
        monkeypatch.setattr(log, "flush", lambda patience: False)
        feedback = {"id": answer.json()["id"], "label": classes[0]}
        refused(client.post("/feedback", json=feedback), 503, "log_unavailable")


# ------------------------------------------------------------------- everything else


def test_probes_and_model_tell_which_model_answers(client, classes):
    assert client.get("/live").json() == {"live": True}
    for path in ("/ready", "/health"):
        content = client.get(path).json()
        assert (content["ready"], content["state"]) == (True, "ready")
    model = client.get("/model").json()
    assert model["classes"] == classes
    assert model["bundle"] == "03_train/small"
    assert (model["size"], model["resize"]) == (16, "squish")
    assert model["model_sha256"] == content["model_sha256"]


def test_metrics_count_answers_and_refusals(package_folder, picture):
    with client_of(package_folder) as client:
        label = send(client, picture).json()["label"]
        send(client, b"")
        text = client.get("/metrics").text
        assert 'fastrec_refusals_total{code="empty_file"} 1.0' in text
        assert "fastrec_answer_seconds_count 1.0" in text
        assert f'fastrec_answers_total{{label="{label}"}} 1.0' in text


def test_every_reply_carries_the_security_headers(client, picture):
    for reply in (client.get("/"), client.get("/static/app.js"), client.get("/none"), send(client, picture)):
        assert "default-src 'none'" in reply.headers["content-security-policy"]
        assert reply.headers["x-content-type-options"] == "nosniff"
        assert "access-control-allow-origin" not in reply.headers


def test_page_loads_nothing_from_elsewhere(client):
    page = client.get("/")
    assert page.headers["content-type"].startswith("text/html")
    for text in (page.text, client.get("/static/app.js").text, client.get("/static/style.css").text):
        assert "http://" not in text
        assert "https://" not in text
        assert "innerHTML" not in text


def test_schema_documents_every_refusal(client):
    paths = client.get("/openapi.json").json()["paths"]
    assert {"400", "401", "408", "413", "415", "422", "503"} <= paths["/predict"]["post"]["responses"].keys()
    assert {"400", "401", "404", "422", "503"} <= paths["/feedback"]["post"]["responses"].keys()
