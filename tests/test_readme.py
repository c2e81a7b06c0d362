"""The README keeps its promises: what it links to is there, and the commands that it shows exist."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "README.md").read_text(encoding="utf-8")
LINKS = [link for link in re.findall(r"\]\(([^)#]+)\)", TEXT) if "://" not in link]


@pytest.mark.parametrize("link", LINKS)
def test_every_link_leads_somewhere(link):
    assert (ROOT / link).exists()


@pytest.mark.parametrize("target", sorted(set(re.findall(r"(?:^|`)make ([a-z]+)", TEXT, re.MULTILINE))))
def test_every_make_target_exists(target):
    assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)


def test_every_command_exists():
    from fastrec.cli import app

    shown = set(re.findall(r"^(?:\.venv/bin/)?fastrec ([a-z]+)", TEXT, re.MULTILINE))
    known = {command.name or command.callback.__name__ for command in app.registered_commands}
    assert shown <= known
    assert len(shown) >= 8


def test_the_tree_names_what_is_there():
    block = TEXT.split("## The tree")[1].split("```")[1]
    names = [line.split()[0] for line in block.splitlines() if line.startswith("  ")]
    assert [name for name in names if not (ROOT / "fastrec" / name).exists()] == []
    present = {path.name for path in (ROOT / "fastrec").iterdir() if path.name[0] not in "._"} - {"py.typed"}
    assert present == {name.rstrip("/") for name in names}
