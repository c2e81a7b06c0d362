import pytest
from bs4 import BeautifulSoup
from hypothesis import given
from hypothesis import strategies as st

from fastrec.report.sanitise import TAGS, sanitise, without_passwords

PIXEL = "data:image/png;base64,iVBORw0KGgo="


@pytest.mark.parametrize(
    "hostile",
    [
        "<img src=x onerror=alert(1)>",
        "<script>alert(1)</script>",
        "<svg onload=alert(1)><script>alert(1)</script></svg>",
        "<a href='javascript:alert(1)'>x</a>",
        "<a href='data:text/html,<script>alert(1)</script>'>x</a>",
        "<a href=' java\tscript:alert(1)'>x</a>",
        "<iframe srcdoc='<script>alert(1)</script>'></iframe>",
        "<img src='https://elsewhere.example/x.png'>",
        "<img src='data:image/svg+xml;base64,PHN2Zz4='>",
        "<div style='background:url(https://elsewhere.example)'>x</div>",
        "<style>@import url(https://elsewhere.example)</style>",
        "<form action='https://elsewhere.example'><input name=a></form>",
        "<math><mtext><table><mglyph><style><img src=x onerror=alert(1)>",
        "<noscript><p title='</noscript><img src=x onerror=alert(1)>'>",
        "<base href='https://elsewhere.example'>",
        "<meta http-equiv=refresh content='0;url=https://elsewhere.example'>",
        "<object data=x></object><embed src=x>",
        "<td><img src=x onerror=alert(1)//",
    ],
)
def test_what_could_run_or_load_is_gone(hostile):
    soup = BeautifulSoup(sanitise(f"<table><tr><td>{hostile}</td></tr></table>after"), "html.parser")
    for element in soup.find_all(True):
        assert element.name in TAGS
        assert not {name for name in element.attrs if name.startswith("on") or name == "style"}
        assert "script:" not in element.get("href", "")
        assert "elsewhere" not in element.get("src", "")
        assert not element.get("href", "").startswith("data:")


def test_what_notebooks_show_stays():
    html = f'<h2>a</h2><table><tr><th>b</th><td colspan="2">1 &lt; 2</td></tr></table><img alt="c" src="{PIXEL}">'
    kept = BeautifulSoup(sanitise(html), "html.parser")
    assert kept.img["src"] == PIXEL
    assert kept.td.text == "1 < 2"
    assert kept.td["colspan"] == "2"
    assert kept.h2.text == "a"


def test_links_go_to_pages_and_places():
    for address in ("https://example.org/a", "#part", "03_train.html", "mailto:a@example.org"):
        assert f'href="{address}"' in sanitise(f'<a href="{address}">x</a>')


def test_a_style_sheet_leaves_no_text_behind():
    assert sanitise("<style scoped>td { color: red }</style><p>x</p>") == "<p>x</p>"


@given(st.text(alphabet="<>/\"'= abionrscptdv&;:#!-[]\n", max_size=60))
def test_whatever_comes_in_no_handler_goes_out(text):
    for element in BeautifulSoup(sanitise(text), "html.parser").find_all(True):
        assert element.name in TAGS
        assert set(element.attrs) <= {"title", "class", "alt", "width", "height", "src", "href", "start"}


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("'postgresql://reader:secret@host:5432/log'", "'postgresql://reader:***@host:5432/log'"),
        ("log:mysql+pymysql://u:p%40ss@h/d", "log:mysql+pymysql://u:***@h/d"),
        ("sqlite:///runs/x/predictions.db", "sqlite:///runs/x/predictions.db"),
        ("http://host:8000/a@b", "http://host:8000/a@b"),
    ],
)
def test_passwords_in_addresses_are_blanked(address, shown):
    assert without_passwords(address) == shown
