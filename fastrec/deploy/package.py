"""What goes to production: one folder that answers and serves without fastrec, torch or a compiler."""

from __future__ import annotations

import json
import platform
import shutil
from importlib import metadata
from pathlib import Path
from string import Template
from typing import Any

import pandas as pd

from fastrec import __version__, files, provenance
from fastrec import bundle as bundles
from fastrec.artefacts import PACKAGE, stage_folder
from fastrec.bundle import Bundle
from fastrec.deploy import card, command, export, graph, samples
from fastrec.deploy.predictor import MODEL, RECORD, SUMS, Predictor
from fastrec.evaluate import predict
from fastrec.files import FastrecError
from fastrec.run import Run

HERE = Path(__file__).parent
REQUIREMENTS = (
    *("numpy", "pillow", "onnxruntime"),  # answering
    *("fastapi", "uvicorn", "python-multipart", "prometheus-client", "SQLAlchemy"),  # serving
)
PARITY_PICTURES = 64


def known_bundles(run: Run) -> list[str]:
    """List the labels of a run's bundles, such as ``03_train/fastnet``."""
    places = (run.folder / stage_folder(stage) for stage in ("train", "tune"))
    folders = (path.parent for place in places for path in sorted(place.glob(f"[!.]*/{bundles.RECORD}")))
    return [f"{folder.parent.name}/{folder.name}" for folder in folders]


def open_bundle(run: Run, label: str) -> Bundle:
    """Load a bundle by its label.

    Raises
    ------
    FastrecError
        If the run has none of this name (lists those it has), or it is damaged or does not fit the
        run's split any more.
    """
    known = known_bundles(run)
    if label not in known:
        have = f"take one of {', '.join(known)}" if known else "train one first (notebooks/03_train.ipynb)"
        raise FastrecError(f"bundle {label!r} is not in run {run.name!r}: {have}.")
    return predict.open_bundle(run, label)


def build(run: Run, label: str) -> Path:
    """Write PACKAGE from a bundle: exported, compared with torch on valid pictures, complete or not at all.

    Returns
    -------
    The package folder.

    Raises
    ------
    FastrecError
        If the bundle is unknown or damaged, cannot be exported, or answers differently as ONNX.
    """
    bundle = open_bundle(run, label)
    with run.writing(PACKAGE) as folder:
        folder.mkdir()
        model = export.export(bundle, folder)
        agreement = export.parity(bundle, model, samples.pictures(run, "valid", PARITY_PICTURES))
        record = _record(bundle, files.checksum(model), agreement)
        (folder / RECORD).write_text(json.dumps(record, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
        _copy_code(folder)
        _write_texts(folder, card.values(run, bundle, record["onnx_sha256"]))
        _seal(folder)
        Predictor(folder)
    return run.path(PACKAGE)


def _record(bundle: Bundle, sha256: str, agreement: export.Agreement) -> dict[str, Any]:
    return {
        "label": bundle.label,
        "run": bundle.record.run,
        "fastrec": __version__,
        "input": graph.INPUT,
        "output": graph.OUTPUT,
        "onnx_sha256": sha256,
        "parity": vars(agreement),
        "bundle": bundle.record.model_dump(mode="json"),
    }


def _copy_code(folder: Path) -> None:
    """Copy the command with all that it imports, so that the package runs the same code, and the page."""
    for path in provenance.modules_behind(Path(command.__file__)):
        target = folder / "fastrec" / path.relative_to(provenance.PACKAGE)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)
    shutil.copytree(HERE / "page", folder / "web")


def _write_texts(folder: Path, card_values: dict[str, str]) -> None:
    values = {"python": ".".join(platform.python_version_tuple()[:2])}
    for template, name, filled in (
        ("predict.py.txt", "predict.py", {}),
        ("Dockerfile", "Dockerfile", values),
        ("MODEL_CARD.md", "MODEL_CARD.md", card_values),
    ):
        text = (HERE / "templates" / template).read_text(encoding="utf-8")
        (folder / name).write_text(Template(text).substitute(filled) if filled else text, encoding="utf-8")
    (folder / "requirements.txt").write_text("".join(f"{name}=={_version(name)}\n" for name in REQUIREMENTS))


def _version(library: str) -> str:
    try:
        return metadata.version(library)
    except metadata.PackageNotFoundError:
        raise FastrecError(f"{library} is not installed: pip install 'fastrec[serve]'.") from None


def _seal(folder: Path) -> None:
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    lines = (f"{files.checksum(path)}  {path.relative_to(folder).as_posix()}\n" for path in paths)
    (folder / SUMS).write_text("".join(lines), encoding="utf-8")


def read_record(folder: Path) -> dict[str, Any]:
    """Read a package's ``model.json``: its bundle, the graph's names and checksum, and the parity found.

    Raises
    ------
    FastrecError
        If it is missing or damaged.
    """
    try:
        found: dict[str, Any] = json.loads((folder / RECORD).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise FastrecError(f"{folder / RECORD} is damaged ({error}): build the package again.") from error
    return found


def contents(folder: Path) -> pd.DataFrame:
    """Tabulate what a package holds: each file, its size in kB and what it is for."""
    purpose = {
        MODEL: "picture in, probabilities out",
        RECORD: "classes, preprocessing, checksums",
        "predict.py": "the command: answer or serve",
        "fastrec": "the code of answering and serving",
        "web": "the page",
        "requirements.txt": "what pip installs",
        "Dockerfile": "the same in a container",
        "MODEL_CARD.md": "what the model is good for",
        SUMS: "checksums of all files",
    }
    sizes = {name: size_of(folder / name) / 1e3 for name in purpose}
    return pd.DataFrame({"kB": pd.Series(sizes).round(1), "what for": pd.Series(purpose)})


def size_of(path: Path) -> int:
    """Return the bytes of a file, or of all files of a folder."""
    return path.stat().st_size if path.is_file() else sum(p.stat().st_size for p in path.rglob("*") if p.is_file())
