"""A bundle to one ONNX graph: picture in, probabilities out; and the proof that it answers as torch does."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from fastrec import channels, images
from fastrec.bundle import Bundle
from fastrec.deploy import graph as graphs
from fastrec.deploy.predictor import open_session
from fastrec.files import FastrecError
from fastrec.records import BundleRecord

if TYPE_CHECKING:
    import onnx
    from torch import nn

FILE = "model.onnx"
NETWORK_TOLERANCE = 1e-4  # the same pixels through torch and through ONNX: what is served
# The picture itself, resized by Pillow for torch and by the graph for ONNX: Pillow rounds ties in double, onnxruntime
# in single precision, so that up to a tenth of the pixels differ by one level where 32 pixels become 48 (measured:
# 5e-3 on 300 photographs).  A wrong filter, cut or mean shifts far more than this.
PICTURE_TOLERANCE = 5e-2


@dataclass(frozen=True)
class Agreement:
    """How far the graph's probabilities are from torch's, at most, over ``pictures`` pictures.

    ``network`` compares on equal pixels, ``picture`` on the picture itself, resized by each in its way.
    """

    pictures: int
    network: float
    picture: float


def export(bundle: Bundle, folder: Path) -> Path:
    """Write ``model.onnx``: a uint8 picture of any size in, probabilities (1, classes) out.

    Cutting, resizing and normalisation are part of the graph, so are temperature and softmax (or
    sigmoid, for several labels); nothing lies outside the file.

    Raises
    ------
    FastrecError
        If the architecture cannot be exported, or the graph fails ``onnx.checker``.
    """
    from onnx import checker, compose

    from fastrec.train.architectures import restore

    record = bundle.record
    body = compose.add_prefix(_network(restore(bundle), record), "network/")
    graph = compose.merge_models(graphs.prepare(record.preprocessing), body, [("prepared", "network/pixels")])
    graph = compose.merge_models(graph, graphs.answer(record), [("network/logits", "logits")])
    graph = _bare(graph)
    try:
        checker.check_model(graph, full_check=True)
    except checker.ValidationError as error:  # pragma: no cover - a fault of the exporter
        raise FastrecError(f"{bundle.label} gives a faulty graph ({error}): choose another architecture.") from error
    path = folder / FILE
    path.write_bytes(graph.SerializeToString(deterministic=True))
    return path


def _network(network: nn.Module, record: BundleRecord) -> onnx.ModelProto:
    import torch

    size = record.preprocessing.size
    example = torch.zeros(2, record.preprocessing.channels, size, size)  # of 2: an example of 1 would become a constant
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the exporter's own deprecations
            program = torch.onnx.export(
                network,
                (example,),
                dynamo=True,
                dynamic_shapes=({0: torch.export.Dim("n")},),
                input_names=["pixels"],
                output_names=["logits"],
                opset_version=graphs.OPSET,
                external_data=False,
                verbose=False,
            )
    except Exception as error:  # the exporter wraps whatever its passes raise
        reason = str(error.__cause__ or error).strip().splitlines()[0]
        raise FastrecError(
            f"{record.architecture} cannot be exported to ONNX ({reason}): choose another architecture."
        ) from error
    assert program is not None
    return program.model_proto


def _bare(graph: onnx.ModelProto) -> onnx.ModelProto:
    """Drop what the exporter notes on every node: it holds source lines of the machine, and doubles the file."""
    for thing in [graph, graph.graph, *graph.graph.node, *graph.graph.initializer, *graph.graph.input]:
        del thing.metadata_props[:]
        thing.doc_string = ""
    for value in graph.graph.output:
        del value.metadata_props[:]
    del graph.graph.value_info[:]
    graph.producer_name, graph.producer_version = "fastrec", ""
    return graph


def load(path: Path) -> onnx.ModelProto:
    """Read a graph and check it; one that points to other files is refused.

    Raises
    ------
    FastrecError
        If it is missing, broken, or keeps data outside its own file.
    """
    import onnx
    from google.protobuf.message import DecodeError

    try:
        graph = onnx.load_model(path, load_external_data=False)
        if any(tensor.external_data for tensor in graph.graph.initializer):
            raise FastrecError(f"{path} keeps weights in other files: export it as one file.")
        onnx.checker.check_model(graph, full_check=True)
    except (OSError, DecodeError, onnx.checker.ValidationError) as error:
        raise FastrecError(f"{path} is not a whole ONNX graph: export the bundle again.") from error
    return graph


def describe(path: Path) -> pd.DataFrame:
    """Tabulate a graph's inputs and outputs: name, type and shape, ``height`` and ``width`` being free."""
    import onnx

    graph = load(path).graph
    rows = []
    for role, values in (("input", graph.input), ("output", graph.output)):
        for value in values:
            tensor = value.type.tensor_type
            shape = " x ".join(d.dim_param or str(d.dim_value) for d in tensor.shape.dim)
            kind = onnx.TensorProto.DataType.Name(tensor.elem_type).lower()
            rows.append({"role": role, "name": value.name, "type": kind, "shape": shape})
    return pd.DataFrame(rows).set_index("role")


def parity(bundle: Bundle, path: Path, pictures: Iterable[np.ndarray]) -> Agreement:
    """Compare the graph with torch on real pictures.

    Parameters
    ----------
    bundle
        What ``path`` was exported from.
    path
        The ONNX file.
    pictures
        uint8 (height, width, 3) each, of any size.

    Raises
    ------
    FastrecError
        If there is no picture, or a probability differs by more than `NETWORK_TOLERANCE` on equal
        pixels or `PICTURE_TOLERANCE` on the picture.
    """
    rule = bundle.record.preprocessing
    session = open_session(path)
    seen, given = [], []
    for picture in pictures:
        pixels = channels.reduced(images.resize(picture, rule.size, rule.resize), rule.channels)
        seen.append(pixels)
        given.append(
            [session.run([graphs.OUTPUT], {graphs.INPUT: each})[0][0] for each in (channels.expanded(pixels), picture)]
        )
    if not seen:
        raise FastrecError("parity needs pictures: give it some of the valid or test split.")
    expected = _torch_probabilities(bundle, np.stack(seen))
    differences = np.abs(np.array(given) - expected[:, None]).max((0, 2))
    result = Agreement(len(seen), *differences.tolist())
    if not (result.network <= NETWORK_TOLERANCE and result.picture <= PICTURE_TOLERANCE):
        raise FastrecError(
            f"{path} answers differently from {bundle.label} (by {result.network:.1e} on equal pixels, "
            f"{result.picture:.1e} on pictures): export it again or choose another architecture."
        )
    return result


def _torch_probabilities(bundle: Bundle, pixels: np.ndarray) -> np.ndarray:
    """Return torch's probabilities (n, classes) for uint8 pixels (n, size, size, channels)."""
    import torch

    from fastrec.train.architectures import restore

    record, network = bundle.record, restore(bundle)
    mean, std = (torch.tensor(v).view(-1, 1, 1) for v in (record.preprocessing.mean, record.preprocessing.std))
    link = torch.sigmoid if record.multi_label else torch.nn.Softmax(1)
    found = []
    with torch.inference_mode():
        for part in torch.from_numpy(pixels).permute(0, 3, 1, 2).split(32):
            found.append(link(network((part.float() / 255 - mean) / std) / record.temperature))
    return torch.cat(found).numpy()
