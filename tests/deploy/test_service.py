from __future__ import annotations

import json
import sqlite3

import pytest
from asking import client_of, refused, send, soon
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fastrec.deploy import recorder, uploads


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
