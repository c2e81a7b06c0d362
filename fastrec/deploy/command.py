"""``predict.py``: a package on the command line, to answer for pictures or to serve."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from fastrec import images
from fastrec.deploy.predictor import Predictor, refusal
from fastrec.files import FastrecError
from fastrec.refusals import ImageError


def answers(predictor: Predictor, paths: Iterable[Path]) -> Iterator[dict[str, Any]]:
    """Yield one entry per picture: an answer, or a refusal with its ``code`` and ``message``.

    A folder stands for the pictures in it, sorted by path.
    """
    for path in paths:
        for file in pictures_in(path) if path.is_dir() else [path]:
            yield _entry(predictor, file)


def pictures_in(folder: Path) -> list[Path]:
    """List the files below ``folder`` that are named like pictures, sorted."""
    return sorted(p for p in folder.rglob("*") if p.suffix.lower() in images.EXTENSIONS and p.is_file())


def _entry(predictor: Predictor, path: Path) -> dict[str, Any]:
    try:
        answer = predictor.predict(images.read_bytes(path))
    except ImageError as error:
        return {"path": str(path), **refusal(error, path.name)}
    return {
        "path": str(path),
        "label": answer.label,
        **({"labels": list(answer.labels)} if predictor.multi_label else {}),
        "score": answer.score,
        "scores": answer.scores,
        "warnings": list(answer.warnings),
    }


def line(entry: dict[str, Any], as_json: bool = False) -> str:
    """Write an entry on one line: path, label and score between tabs, or JSON."""
    if as_json:
        return json.dumps(entry, allow_nan=False)
    path = entry["path"].encode(errors="backslashreplace").decode().replace("\n", "\\n").replace("\t", "\\t")
    if "code" in entry:
        return f"{path}\t{entry['code']}\t{entry['message']}: {entry['hint']}"
    return f"{path}\t{entry['label']}\t{entry['score']:.4f}"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("predict.py", description="Name what is on pictures, or serve the model.")
    parser.add_argument("pictures", nargs="*", type=Path, metavar="PICTURE", help="picture files or folders of them")
    parser.add_argument("--json", action="store_true", help="one JSON object a line")
    parser.add_argument("--serve", action="store_true", help="start the web service instead")
    parser.add_argument("--host", default="127.0.0.1", help="where to listen; any other needs FASTREC_TOKEN set")
    parser.add_argument("--port", default=8000, type=int, help="0 takes a free one")
    parser.add_argument("--log", metavar="URL", help="database of predictions, such as sqlite:///predictions.db")
    return parser


def main(package: Path, arguments: Sequence[str] | None = None) -> int:
    """Run the command of a package and return its exit code.

    Returns
    -------
    0 when every picture got an answer, 1 when some were refused or the package is broken, 2 when
    the call was wrong, 130 after Ctrl-C.
    """
    parser = _parser()
    given = parser.parse_args(arguments)
    if bool(given.pictures) == given.serve:
        parser.error("name pictures, or say --serve")
    try:
        if given.serve:
            from fastrec.deploy.service import serve

            serve(package, given.host, given.port, given.log)
            return 0
        return _answer_all(package, given.pictures, given.json)
    except FastrecError as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


def _answer_all(package: Path, paths: Sequence[Path], as_json: bool) -> int:
    count = refused = 0
    for entry in answers(Predictor(package), paths):
        count += 1
        refused += "code" in entry
        print(line(entry, as_json), flush=True)
    if not count:
        raise FastrecError(f"{paths[0]} holds no pictures: name files or another folder.")
    return 1 if refused else 0
