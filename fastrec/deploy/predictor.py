"""Answers from a package: onnxruntime, NumPy and Pillow, and the decoder that training used."""

from __future__ import annotations

import hashlib
import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

from fastrec import channels, files, images, labels
from fastrec.files import FastrecError
from fastrec.refusals import ImageError

MODEL, RECORD, SUMS = "model.onnx", "model.json", "SHA256SUMS"


@dataclass(frozen=True)
class Answer:
    """What the model says of one picture.

    Attributes
    ----------
    label, score
        The likeliest class and its probability.  With several labels per picture all that reach their
        threshold, as one text (see `fastrec.labels`), and the probability of the whole set.
    labels
        The same labels one by one.
    scores
        Probability of every class, in the bundle's order.
    statistics
        ``width`` and ``height`` of the picture; brightness, contrast, sharpness and saturation of
        what the network saw, after `fastrec.images.statistics`.
    warnings
        What had to be mended in the file, and what looks odd.
    milliseconds
        From the bytes to the answer.
    image_id
        sha256 of the bytes.
    bundle
        Which bundle answered, such as ``04_tune/best``.
    """

    label: str
    labels: tuple[str, ...]
    score: float
    scores: dict[str, float]
    statistics: dict[str, float]
    warnings: tuple[str, ...]
    milliseconds: float
    image_id: str
    bundle: str


class Predictor:
    """A package's model, ready to answer; one serves many threads.

    Parameters
    ----------
    folder
        The package.
    threads
        How many processors one answer may use; 0 takes all.

    Raises
    ------
    FastrecError
        If a file of the package is missing, was changed, or cannot be used.
    """

    def __init__(self, folder: Path, threads: int = 0) -> None:
        self.folder = Path(folder).resolve()
        verify(self.folder)
        self.record = _record(self.folder)
        bundle = self.record["bundle"]
        self.label: str = self.record["label"]
        self.classes: list[str] = bundle["classes"]
        self.multi_label: bool = bundle["multi_label"]
        self.thresholds: list[float] | None = bundle["thresholds"]
        self.size: int = bundle["preprocessing"]["size"]
        self.rule: str = bundle["preprocessing"]["resize"]
        self.channels: int = bundle["preprocessing"].get("channels", 3)
        self.sha256: str = self.record["onnx_sha256"]
        self._session = open_session(self.folder / MODEL, threads)

    def predict(self, data: bytes) -> Answer:
        """Answer for the bytes of one image file.

        Raises
        ------
        ImageError
            If the picture is refused.
        """
        start = time.perf_counter()
        picture = images.decode(data)
        # Resized here as in training: the statistics need it, and the graph leaves its own size untouched.
        resized = images.resize(picture.image, self.size, self.rule)  # no copy of all its pixels
        pixels = channels.expanded(channels.reduced(resized, self.channels))
        scores = self.scores(pixels)
        width, height = picture.image.size
        measured = {name: float(values[0]) for name, values in images.statistics(pixels[None]).items()}
        (label,), (certainty,) = labels.answers(scores[None].astype(float), self.classes, self.thresholds)
        return Answer(
            label=label,
            labels=tuple(labels.each(label, self.multi_label)),
            score=float(certainty),
            scores=dict(zip(self.classes, scores.tolist(), strict=True)),
            statistics={"width": float(width), "height": float(height), **measured},
            warnings=picture.warnings,
            milliseconds=(time.perf_counter() - start) * 1e3,
            image_id=hashlib.sha256(data).hexdigest(),
            bundle=self.label,
        )

    def scores(self, pixels: np.ndarray) -> np.ndarray:
        """Return the probabilities (classes,) for uint8 pixels (height, width, 3) of any size."""
        scores = self._session.run([self.record["output"]], {self.record["input"]: pixels})[0][0]
        if not np.isfinite(scores).all():
            raise FastrecError(f"{self.folder / MODEL} gives no finite answer: train and export the model again.")
        return np.asarray(scores)


def verify(folder: Path) -> None:
    """Compare every file of a package with its ``SHA256SUMS``.

    Raises
    ------
    FastrecError
        Naming the first file that is missing or differs.
    """
    try:
        lines = (folder / SUMS).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        raise FastrecError(f"{folder} is not a package (no readable {SUMS}): run notebooks/06_deploy.ipynb.") from None
    listed = {name: digest for digest, _, name in (line.partition("  ") for line in lines)}
    for name in (MODEL, RECORD, *listed):
        path = folder / name
        if name not in listed or not path.is_file():
            raise FastrecError(f"{path} is missing: build the package again (notebooks/06_deploy.ipynb).")
        if files.checksum(path) != listed[name]:
            raise FastrecError(f"{path} was changed after the package was built: build the package again.")


def _record(folder: Path) -> dict[str, Any]:
    try:
        record: dict[str, Any] = json.loads((folder / RECORD).read_text(encoding="utf-8"))
        if files.checksum(folder / MODEL) != record["onnx_sha256"]:
            raise FastrecError(f"{folder / MODEL} does not belong to {RECORD}: build the package again.")
        record["bundle"]["preprocessing"]["size"], record["input"], record["output"]
        _check_thresholds(record["bundle"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise FastrecError(f"{folder / RECORD} is damaged ({error!r}): build the package again.") from error
    return record


def _check_thresholds(bundle: dict[str, Any]) -> None:
    several, limits = bundle["multi_label"], bundle["thresholds"]
    if len(limits or ()) != (len(bundle["classes"]) if several else 0):
        raise ValueError("thresholds: one for each class where pictures have several labels, else none")


def open_session(path: Path, threads: int = 0) -> onnxruntime.InferenceSession:
    """Load a graph as it is served: on the CPU, with its weights inside the file.

    Raises
    ------
    FastrecError
        If it points to other files or cannot be loaded.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # leave the processor to the decoder
    data = path.read_bytes()
    if b"\n\x08location" in data:  # how protobuf writes the key of a tensor that lies in another file
        raise FastrecError(f"{path} keeps weights in other files, which is not allowed: export it as one file.")
    try:
        return onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime raises a dozen classes of its own, none documented
        reason = str(error).splitlines()[0]
        raise FastrecError(f"{path} cannot be loaded ({reason}): build the package again.") from error


def refusal(error: ImageError, name: str) -> dict[str, str]:
    """Return a refused picture as ``code``, ``message``, ``file`` and ``hint`` of what to do."""
    what, _, cure = str(error).rpartition(": ")
    hint = cure if what else f"send one of {', '.join(images.FORMATS)}"
    return {"code": error.code, "message": f"{name} {what or cure}", "file": name, "hint": hint}
