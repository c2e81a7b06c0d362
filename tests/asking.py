"""How the tests ask the service, and how they know a refusal."""

from __future__ import annotations

import time
from contextlib import contextmanager

from starlette.testclient import TestClient

from fastrec.deploy import service

HOST = "http://127.0.0.1"


@contextmanager
def client_of(package, log_url=None, **options):
    with TestClient(service.create_app(package, log_url, **options), base_url=HOST) as client:
        yield client


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
