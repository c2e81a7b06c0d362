"""The fingerprint of code changes with what a result depends on, and with nothing else."""

from __future__ import annotations

import ast
import json
import os

import pytest

from fastrec import provenance
from fastrec.files import FastrecError

PARAMETERS = "run_name: str = 'digits'  # the run\nepochs: int = 8  # how many\nlimit = None\n"
CODE = "from fastrec.train import learner\nlearner.fit(epochs)\n"


def write_notebook(path, *cells, parameters=PARAMETERS):
    def cell(source, *tags):
        lines = source.splitlines(keepends=True)  # as Jupyter saves them
        return {"cell_type": "code", "source": lines, "metadata": {"tags": list(tags)} if tags else {}, "outputs": []}

    note = {"cell_type": "markdown", "source": "from fastrec import nothing", "metadata": {}}
    made = [note, cell(parameters, "parameters"), *map(cell, cells)]
    path.write_text(json.dumps({"cells": made, "metadata": {}, "nbformat": 4, "nbformat_minor": 5}))
    return path


@pytest.fixture
def package(tmp_path, monkeypatch):
    """Make a small package in which a notebook reaches ``deep`` over three imports."""
    root = tmp_path / "fastrec"
    contents = {
        "__init__.py": '"""A package."""\n',
        "train/__init__.py": '"""A stage."""\n',
        "train/learner.py": "from fastrec.train import recipe\n",
        "train/recipe.py": "def late():\n    import fastrec.deep\n",
        "train/unused.py": "value = 1\n",
        "train/page/form.html": "<p>a page</p>\n",
        "train/page/script.py": "print(1)\n",
        "train/logo.png": "\0png",
        "deep.py": "# a comment\nvalue = 1\n",
        "elsewhere/__init__.py": "",
        "elsewhere/page.html": "<p>not reached</p>",
    }
    for name, text in contents.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    monkeypatch.setattr(provenance, "PACKAGE", root)
    return root


@pytest.fixture
def notebook(tmp_path):
    return write_notebook(tmp_path / "03_train.ipynb", CODE)


def change(path, text):
    """Write ``text`` with a time of its own: two writes within one tick of the clock would look the same."""
    path.write_text(text)
    os.utime(path, ns=(path.stat().st_mtime_ns + 10**9,) * 2)


def test_the_fingerprint_is_one_of_content_not_of_place_or_time(package, notebook, tmp_path):
    before = provenance.code_fingerprint(notebook)
    (tmp_path / "copy").mkdir()
    copy = write_notebook(tmp_path / "copy" / "other.ipynb", CODE)
    os.utime(package / "deep.py", ns=(1, 1))
    assert provenance.code_fingerprint(copy) == before
    assert len(before) == 64


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("deep.py", "value   =  (1)  # another comment\n\n"),
        ("train/unused.py", "value = 2\n"),
        ("elsewhere/page.html", "<p>changed</p>"),
        ("train/.hidden.swp", "an editor's own"),
        ("train/__pycache__/recipe.pyc", "compiled"),
    ],
)
def test_what_changes_no_result_changes_no_fingerprint(package, notebook, name, text):
    before = provenance.code_fingerprint(notebook)
    (package / name).parent.mkdir(exist_ok=True)
    change(package / name, text)
    assert provenance.code_fingerprint(notebook) == before


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("deep.py", "value = 2\n"),
        ("train/recipe.py", "def late():\n    import fastrec.deep as deep\n"),
        ("train/__init__.py", '"""A stage with another docstring."""\n'),
        ("train/page/form.html", "<p>another page</p>\n"),
        ("train/page/script.py", "print(2)\n"),
        ("train/page/new.css", "p {}\n"),
        ("train/logo.png", "\0gif"),
    ],
)
def test_what_a_result_rests_on_changes_the_fingerprint(package, notebook, name, text):
    before = provenance.code_fingerprint(notebook)
    change(package / name, text)
    assert provenance.code_fingerprint(notebook) != before


def test_layout_comments_magics_and_defaults_of_the_notebook_do_not_count(package, notebook):
    before = provenance.code_fingerprint(notebook)
    cells = ["%matplotlib inline\nfrom fastrec.train import learner", "!ls\n\nlearner.fit( epochs )  # go"]
    assert provenance.code_fingerprint(write_notebook(notebook, *cells)) == before
    assert provenance.code_fingerprint(write_notebook(notebook, CODE, parameters="epochs: int = 99")) == before


def test_the_notebooks_own_code_counts(package, notebook):
    before = provenance.code_fingerprint(notebook)
    assert provenance.code_fingerprint(write_notebook(notebook, CODE + "learner.again()\n")) != before


def test_a_line_that_begins_with_an_operator_is_no_magic(package, notebook):
    one = provenance.code_fingerprint(write_notebook(notebook, "x = (7\n     % 4)\n"))
    assert one != provenance.code_fingerprint(write_notebook(notebook, "x = (7\n     % 5)\n"))


def test_parameter_names_come_in_their_order_with_or_without_annotation(notebook):
    assert provenance.parameter_names(notebook) == ["run_name", "epochs", "limit"]


@pytest.mark.parametrize("text", [None, "", "{}", "[1]", '{"cells": [{"cell_type": "code"}]}', b"\xff\xfe"])
@pytest.mark.parametrize("read", [provenance.parameter_names, provenance.code_fingerprint])
def test_what_is_no_notebook_is_named(tmp_path, text, read):
    path = tmp_path / "03_train.ipynb"
    if text is not None:
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(FastrecError, match=r"03_train\.ipynb is missing or not a notebook"):
        read(path)


def test_a_cell_that_is_no_python_is_named(notebook):
    write_notebook(notebook, "for = 1")
    with pytest.raises(FastrecError, match=r"03_train\.ipynb holds a cell that is not Python"):
        provenance.code_fingerprint(notebook)


def test_the_real_package_is_reached_through_imports_inside_functions():
    reached = provenance._reached_from(provenance._imported(ast.parse("def f():\n    from fastrec import bundle\n")))
    names = {path.name for path in reached}
    assert {"bundle.py", "files.py", "records.py", "provenance.py"} <= names
    assert "run.py" not in names


def test_versions_name_python_fastrec_and_the_libraries():
    found = provenance.versions()
    assert set(found) == {"python", "fastrec", *provenance.LIBRARIES}
    assert found["numpy"][0].isdigit()


def test_peak_memory_grows_with_what_is_used():
    before = provenance.peak_memory()
    block = bytearray(os.urandom(2**20)) * 64
    assert provenance.peak_memory() >= before > 2**20
    assert len(block) == 2**26
