"""Labels, file names and outputs that try to run: shown as text, in the source and in a real browser."""

import shutil

import pytest
from bs4 import BeautifulSoup
from tiny_notebooks import write_notebook

from fastrec.artefacts import STAGES
from fastrec.report.pages import render_compare, render_run

HOSTILE = "<img src=x onerror=document.title='owned'>"
CLASSES = (HOSTILE, "$x^2$", "</style><script>document.title='owned'</script>", "{{ 7 * 7 }}")


@pytest.fixture
def pages(make_run, home):
    for stage in STAGES:
        write_notebook(home / "notebooks", stage, parameters='run_name: str = "digits"\nsource: str = "digits"')
    runs = [make_run("one", classes=CLASSES), make_run("two", classes=CLASSES)]
    index = render_run(runs[0])
    return [*sorted(index.parent.glob("*.html")), render_compare(runs)]


def test_hostile_names_are_text_in_the_source(pages):
    for page in pages:
        soup = BeautifulSoup(page.read_text(encoding="utf-8"), "html.parser")
        assert len(soup.find_all("script")) == 1
        assert not soup.find_all("img", src="x")
        assert not soup.find_all(lambda element: any(name.startswith("on") for name in element.attrs))
    index = next(page for page in pages if page.name == "index.html")
    assert all(name in BeautifulSoup(index.read_text(encoding="utf-8"), "html.parser").text for name in CLASSES)


def test_nothing_runs_or_loads_in_a_browser(pages):
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed (extra e2e)")
    browser = shutil.which("chromium") or pytest.skip("no chromium to open the pages in")
    options = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-background-networking"]
    with playwright.sync_playwright() as driver:
        chromium = driver.chromium.launch(executable_path=browser, args=options)
        page = chromium.new_page(viewport={"width": 390, "height": 800})
        asked: list[str] = []
        page.on("request", lambda request: asked.append(request.url))
        page.on("dialog", lambda dialog: asked.append(f"dialog {dialog.message}"))
        for path in pages:
            asked.clear()
            page.goto(path.as_uri())
            assert page.title() != "owned"
            assert [url for url in asked if not url.startswith("data:")] == [path.as_uri()]
            assert page.evaluate("document.documentElement.scrollWidth") <= 390
        page.goto(next(path for path in pages if path.name == "01_collect.html").as_uri())
        page.click("[data-code]")
        assert page.evaluate("[...document.querySelectorAll('details.code')].every((fold) => fold.open)")
        chromium.close()
