"""Foreign HTML made inert: an allow-list of tags and attributes, and no address outside the page."""

from __future__ import annotations

import re

import bleach
from bs4 import BeautifulSoup

_TEXT = {
    "a",
    "abbr",
    "b",
    "br",
    "code",
    "del",
    "em",
    "i",
    "ins",
    "kbd",
    "q",
    "s",
    "small",
    "span",
    "strong",
    "sub",
    "sup",
}
_BLOCKS = {"blockquote", "details", "div", "figcaption", "figure", "hr", "img", "p", "pre", "summary"}
_HEADINGS = {"h1", "h2", "h3", "h4", "h5", "h6"}
_LISTS = {"dd", "dl", "dt", "li", "ol", "ul"}
_TABLES = {"caption", "col", "colgroup", "table", "tbody", "td", "tfoot", "th", "thead", "tr"}
TAGS = frozenset(_TEXT | _BLOCKS | _HEADINGS | _LISTS | _TABLES)
_ATTRIBUTES = {
    "a": {"title"},
    "abbr": {"title"},
    "div": {"class"},  # classes are those of the code's colours
    "img": {"alt", "width", "height"},
    "ol": {"start"},
    "pre": {"class"},
    "span": {"class"},
    "td": {"class", "colspan", "rowspan"},
    "th": {"colspan", "rowspan", "scope"},
}
_IMAGE = re.compile(r"data:image/(png|jpeg|gif|webp);base64,[A-Za-z0-9+/=\s]*")
_LINK = re.compile(r"(https?://|mailto:|#|[\w./-]+(#|$))", re.IGNORECASE)
_PROTOCOLS = frozenset({"http", "https", "mailto", "data"})  # which of them where, `_allowed` decides
_PASSWORD = re.compile(r"(\w://[^\s:/@'\"<>]*):[^\s/@'\"<>]+@")
_WITHOUT_CONTENT = ["script", "style", "template", "iframe", "object", "embed", "noscript", "svg", "math"]


def sanitise(html: str) -> str:
    """Return the harmless part of ``html``.

    Scripts, styles, frames, event attributes, and images from anywhere but the page itself are
    dropped; everything else that is unknown is dropped but for its text.
    """
    soup = BeautifulSoup(html, "html.parser")
    for element in soup.find_all(_WITHOUT_CONTENT):
        element.decompose()
    for image in soup.find_all("img"):
        if not _IMAGE.fullmatch(str(image.get("src", ""))):
            image.replace_with(str(image.get("alt", "")))
    return bleach.clean(str(soup), tags=TAGS, attributes=_allowed, protocols=_PROTOCOLS, strip=True)


def _allowed(tag: str, name: str, value: str) -> bool:
    if (tag, name) == ("img", "src"):
        return _IMAGE.fullmatch(value) is not None
    if (tag, name) == ("a", "href"):
        return _LINK.match(value) is not None
    return name in _ATTRIBUTES.get(tag, ())


def without_passwords(html: str) -> str:
    """Blank the password in every address such as ``postgresql://reader:secret@host/log``: pages are passed on."""
    return _PASSWORD.sub(r"\1:***@", html)
