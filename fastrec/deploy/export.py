"""A bundle to one ONNX graph: picture in, probabilities out; and the proof that it answers as torch does."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from fastrec import images
from fastrec.bundle import Bundle
from fastrec.deploy.predictor import open_session
from fastrec.files import FastrecError
from fastrec.records import BundleRecord, Preprocessing

if TYPE_CHECKING:
    import onnx
    from torch import nn

FILE, INPUT, OUTPUT = "model.onnx", "image", "probabilities"
OPSET, IR = 20, 10  # Resize with antialias and axes needs 18; 20 is what the exporter of torch 2.12 writes best
NETWORK_TOLERANCE = 1e-4  # the same pixels through torch and through ONNX: what is served
# The picture itself, resized by Pillow for torch and by the graph for ONNX: Pillow rounds ties in double, onnxruntime
# in single precision, so that up to a tenth of the pixels differ by one level where 32 pixels become 48 (measured:
# 5e-3 on 300 photographs).  A wrong filter, cut or mean shifts far more than this.
PICTURE_TOLERANCE = 5e-2

# exclude_outside makes the borders equal to Pillow's; what torch exports without it is off by up to 17 levels.
_PREPARE = """
<ir_version: {ir}, opset_import: ["" : {opset}]>
prepare (uint8[height, width, 3] {input}) => (float[1, 3, {size}, {size}] prepared)
<int64[1] zero = {{0}}, int64[2] target = {{{size}, {size}}},
 float white = {{255.0}}, float[1, 3, 1, 1] mean = {{{mean}}}, float[1, 3, 1, 1] deviation = {{{std}}}>
{{
  {cut}
  channels = Transpose <perm = [2, 0, 1]> (framed)
  batch = Unsqueeze (channels, zero)
  resized = Resize <mode = "linear", antialias = 1, exclude_outside = 1, axes = [2, 3],
                    coordinate_transformation_mode = "half_pixel"> (batch, , , {sides})
  {fill}levels = Cast <to = 1> ({filled})
  scaled = Div (levels, white)
  centred = Sub (scaled, mean)
  prepared = Div (centred, deviation)
}}
"""
_CUT = {
    "squish": f"framed = Identity ({INPUT})",
    "crop": f"""two = Constant <value_ints = [2]> ()
  sides = Constant <value_ints = [0, 1]> ()
  shape = Shape <start = 0, end = 2> ({INPUT})
  side = ReduceMin <keepdims = 1> (shape)
  slack = Sub (shape, side)
  start = Div (slack, two)
  end = Add (start, side)
  framed = Slice ({INPUT}, start, end, sides)""",
    # The integers of fastrec.images.fitted: a side becomes (2 * side * size + longest) / (2 * longest), at least 1.
    "pad": f"""one = Constant <value_ints = [1]> ()
  two = Constant <value_ints = [2]> ()
  shape = Shape <start = 0, end = 2> ({INPUT})
  longest = ReduceMax <keepdims = 1> (shape)
  doubled = Mul (shape, two)
  enlarged = Mul (doubled, target)
  raised = Add (enlarged, longest)
  divisor = Mul (longest, two)
  divided = Div (raised, divisor)
  fitted = Max (divided, one)
  framed = Identity ({INPUT})""",
}
_FILL = f"""axes = Constant <value_ints = [2, 3]> ()
  grey = Constant <value = uint8 {{{images.PADDING}}}> ()
  free = Sub (target, fitted)
  before = Div (free, two)
  after = Sub (free, before)
  widths = Concat <axis = 0> (before, after)
  filled = Pad (resized, widths, grey, axes)
  """
_WHOLE = {"sides": "target", "fill": "", "filled": "resized"}  # nothing is left to fill
_ANSWER = """
<ir_version: {ir}, opset_import: ["" : {opset}]>
answer (float[1, {classes}] logits) => (float[1, {classes}] {output})
<float temperature = {{{temperature}}}>
{{
  tempered = Div (logits, temperature)
  {output} = {link} (tempered)
}}
"""


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
    graph = compose.merge_models(_prepare(record.preprocessing), body, [("prepared", "network/pixels")])
    graph = compose.merge_models(graph, _answer(record), [("network/logits", "logits")])
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
    example = torch.zeros(2, 3, size, size)  # of 2: an example of 1 would become a constant
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
                opset_version=OPSET,
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


def _prepare(preprocessing: Preprocessing) -> onnx.ModelProto:
    from onnx import parser

    text = _PREPARE.format(
        ir=IR,
        opset=OPSET,
        input=INPUT,
        size=preprocessing.size,
        mean=", ".join(map(repr, preprocessing.mean)),
        std=", ".join(map(repr, preprocessing.std)),
        cut=_CUT[preprocessing.resize],
        **({"sides": "fitted", "fill": _FILL, "filled": "filled"} if preprocessing.resize == "pad" else _WHOLE),
    )
    return parser.parse_model(text)


def _answer(record: BundleRecord) -> onnx.ModelProto:
    from onnx import parser

    link = "Sigmoid" if record.multi_label else "Softmax <axis = 1>"
    text = _ANSWER.format(
        ir=IR, opset=OPSET, classes=len(record.classes), output=OUTPUT, temperature=record.temperature, link=link
    )
    return parser.parse_model(text)


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
        pixels = images.resize(picture, rule.size, rule.resize)
        seen.append(pixels)
        given.append([session.run([OUTPUT], {INPUT: each})[0][0] for each in (pixels, picture)])
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
    """Return torch's probabilities (n, classes) for uint8 pixels (n, size, size, 3)."""
    import torch

    from fastrec.train.architectures import restore

    record, network = bundle.record, restore(bundle)
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in (record.preprocessing.mean, record.preprocessing.std))
    link = torch.sigmoid if record.multi_label else torch.nn.Softmax(1)
    found = []
    with torch.inference_mode():
        for part in torch.from_numpy(pixels).permute(0, 3, 1, 2).split(32):
            found.append(link(network((part.float() / 255 - mean) / std) / record.temperature))
    return torch.cat(found).numpy()
