"""One frame for all pages: self-contained, with a policy under which nothing foreign can run or load."""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from pygments.formatters.html import HtmlFormatter

from fastrec import files
from fastrec.report import words
from fastrec.report.sanitise import without_passwords

TEMPLATES = Path(__file__).parent / "templates"


def write_page(target: Path, template: str, **content: Any) -> Path:
    """Render a template of ours into a page, and write it whole or not at all.

    Parameters
    ----------
    target
        Where the page goes.
    template
        Its name below ``templates``; every value in it is escaped, but for `Markup`.
    **content
        The template's variables.
    """
    environment = Environment(loader=FileSystemLoader(TEMPLATES), autoescape=True, undefined=StrictUndefined)
    environment.globals.update(words=words)
    script = (TEMPLATES / "page.js").read_text(encoding="utf-8")
    page = environment.get_template(template).render(
        style=Markup((TEMPLATES / "page.css").read_text(encoding="utf-8") + _code_colours()),
        script=Markup(script),
        policy=_policy(script),
        **content,
    )
    files.write_text(target, without_passwords(page))
    return target


def _policy(script: str) -> str:
    """Allow our one script by its checksum, images that are in the page itself, and nothing else."""
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return (
        "default-src 'none'; img-src data:; style-src 'unsafe-inline'; "
        f"script-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    )


def _code_colours() -> str:
    light = HtmlFormatter(style="friendly").get_style_defs(".highlight")
    dark = HtmlFormatter(style="github-dark").get_style_defs(".highlight")
    return f"{light}\n@media (prefers-color-scheme: dark) {{\n{dark}\n}}\n"
