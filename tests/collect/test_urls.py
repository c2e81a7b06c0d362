"""Downloads: checked, kept, tried again, and listed when they fail."""

import hashlib
import http.server
import threading
import time

import pandas as pd
import pytest

from fastrec.collect import manifest, sources
from fastrec.collect.sources import urls
from fastrec.files import FastrecError
from fastrec.run import Run


@pytest.fixture
def server(home, make_images):
    """Serve a few pictures on the loopback, one of them only at the second try, and count the requests."""
    root = make_images(home / "web", ["cat", "dog"], per_class=20)
    seen = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            path = self.path.partition("?")[0]
            seen.append(path)
            if path == "/flaky.png" and seen.count(path) == 1:
                self.send_response(429)
                self.send_header("Retry-After", "3600")
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            file = root / ("cat/000.png" if path == "/flaky.png" else path.lstrip("/"))
            if not file.is_file():
                self.send_error(404)
                return
            data = file.read_bytes()
            self.send_response(200)
            self.send_header("Content-Length", str(len(data) + (9 if "cut" in self.path else 0)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *args):
            pass

    httpd = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=httpd.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{httpd.server_port}", root, seen
    httpd.shutdown()
    httpd.server_close()


def table(home, server, extra=()):
    base, _, _ = server
    lines = [f"{base}/{label}/{k:03d}.png?sig=1,{label}," for label in ("cat", "dog") for k in range(20)]
    (home / "list.csv").write_text("\n".join(["url,label,sha256", *lines, *extra]))


def test_what_is_there_is_not_fetched_again(home, server):
    table(home, server)
    found = sources.listing("urls:list.csv")
    assert len(found.items) == 40
    count = len(server[2])
    assert sources.listing("urls:list.csv") == found
    assert len(server[2]) == count
    usable, rejected, _ = manifest.inspect(Run("t"), found.items)
    assert len(usable) == 40
    assert rejected.empty


def test_a_busy_server_is_asked_again_soon_whatever_it_asks_for(home, server, monkeypatch):
    monkeypatch.setattr(urls, "LONGEST_PAUSE", 0.2)
    table(home, server, [f"{server[0]}/flaky.png,cat,"])
    began = time.monotonic()
    assert not [item for item in sources.listing("urls:list.csv").items if item.problem]
    assert time.monotonic() - began < 5


def test_the_fingerprint_fetches_nothing_and_knows_table_and_pictures(home, server):
    table(home, server, [f"{server[0]}/none.png,cat,"])
    sources.fingerprint("urls:list.csv")
    assert not server[2]
    picture = sources.listing("urls:list.csv").items[0].path
    count = len(server[2])
    before = sources.fingerprint("urls:list.csv")
    assert sources.fingerprint("urls:list.csv") == before
    picture.unlink()
    without = sources.fingerprint("urls:list.csv")
    table(home, server, [f"{server[0]}/none.png,cat,{'0' * 64}"])
    assert len({before, without, sources.fingerprint("urls:list.csv")}) == 3
    assert len(server[2]) == count


@pytest.mark.parametrize("url", ["http://[::1/x.png", "http://", "https:///a.png", "http://a b/\0.png", "http://a:b/"])
def test_what_is_no_address_is_listed_with_its_row_s_address(home, server, url):
    table(home, server, [f"{url},cat,"])
    problems = [item.problem for item in sources.listing("urls:list.csv").items if item.problem]
    assert [code for code, _ in problems] == ["download_failed"]
    assert url.partition("\0")[0] in problems[0][1]


@pytest.mark.parametrize(("address", "says"), [("/none.png", "status 404"), ("/cat/000.png?cut", "cut short")])
def test_a_failed_download_is_listed_with_its_reason(home, server, address, says):
    import re

    table(home, server, [f"{server[0]}{address},cat,"])
    problems = [item.problem for item in sources.listing("urls:list.csv").items if item.problem]
    assert [code for code, _ in problems] == ["download_failed"]
    assert re.search(says, problems[0][1])


def test_a_wrong_checksum_is_a_failure_and_the_right_one_is_not(home, server):
    data = (server[1] / "cat/000.png").read_bytes()
    right, wrong = hashlib.sha256(data).hexdigest(), "0" * 64
    table(home, server, [f"{server[0]}/cat/000.png?a,cat,{right}", f"{server[0]}/cat/000.png?b,cat,{wrong}"])
    problems = [item.problem[1] for item in sources.listing("urls:list.csv").items if item.problem]
    assert len(problems) == 1
    assert "another sha256" in problems[0]


def test_too_many_failures_stop_the_run(home, server):
    table(home, server, [f"{server[0]}/none{k}.png,cat," for k in range(5)])
    with pytest.raises(FastrecError, match=r"5 of 45 downloads .* failed, the first .*404.*listed in .*failures.csv"):
        sources.listing("urls:list.csv")
    failures = home / "data/urls/list.failures.csv"
    told = pd.read_csv(failures)
    assert told["url"].tolist() == [f"{server[0]}/none{k}.png" for k in range(5)]
    assert told["reason"].str.contains("status 404").all()
    table(home, server)
    sources.listing("urls:list.csv")
    assert not failures.exists()


def test_an_address_that_comes_twice_is_one_picture_or_a_contradiction(home, server):
    table(home, server, [f"{server[0]}/cat/000.png?sig=1,cat,"])
    assert len(sources.listing("urls:list.csv").items) == 40
    table(home, server, [f"{server[0]}/cat/000.png?sig=1,dog,"])
    with pytest.raises(FastrecError, match=r"names http.*000\.png\?sig=1 twice with different entries"):
        sources.listing("urls:list.csv")


def test_a_file_s_name_tells_what_it_was_called(home, server):
    table(home, server)
    assert {item.path.name.partition("-")[2] for item in sources.listing("urls:list.csv").items} == {
        f"{k:03d}.png" for k in range(20)
    }


def test_other_schemes_are_not_fetched(home, server):
    table(home, server, ["file:///etc/passwd,cat,"])
    assert [item.problem[0] for item in sources.listing("urls:list.csv").items if item.problem] == ["download_failed"]
