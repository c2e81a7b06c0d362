"""What stands around the network in the graph: the picture is prepared before it, its logits are answered after it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastrec import channels, images
from fastrec.records import BundleRecord, Preprocessing

if TYPE_CHECKING:
    import onnx

INPUT, OUTPUT = "image", "probabilities"
OPSET, IR = 20, 10  # Resize with antialias and axes needs 18; 20 is what the exporter of torch 2.12 writes best

# exclude_outside makes the borders equal to Pillow's; what torch exports without it is off by up to 17 levels.
# The batch's axis is added by a Reshape: over an Unsqueeze, onnxruntime's optimizer moves the Transpose on behind the
# Resize, takes its two sizes for four and fails (seen where a network itself begins with a Transpose, as rownet does).
_PREPARE = """
<ir_version: {ir}, opset_import: ["" : {opset}]>
prepare (uint8[height, width, 3] {input}) => (float[1, {channels}, {size}, {size}] prepared)
<int64[1] single = {{1}}, int64[2] target = {{{size}, {size}}},
 float white = {{255.0}},
 float[1, {channels}, 1, 1] mean = {{{mean}}}, float[1, {channels}, 1, 1] deviation = {{{std}}}>
{{
  {cut}
  channels = Transpose <perm = [2, 0, 1]> (framed)
  extent = Shape (channels)
  whole_extent = Concat <axis = 0> (single, extent)
  batch = Reshape (channels, whole_extent)
  resized = Resize <mode = "linear", antialias = 1, exclude_outside = 1, axes = [2, 3],
                    coordinate_transformation_mode = "half_pixel"> (batch, , , {sides})
  {fill}{grey}levels = Cast <to = 1> ({seen})
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
_GREY = f"""weights = Constant <value = int32[1, 3, 1, 1] {{{", ".join(map(str, channels.WEIGHTS))}}}> ()
  half = Constant <value = int32 {{{channels.HALF}}}> ()
  whole = Constant <value = int32 {{{channels.WHOLE}}}> ()
  depth = Constant <value_ints = [1]> ()
  colours = Cast <to = 6> (FILLED)
  weighted = Mul (colours, weights)
  luma = ReduceSum <keepdims = 1> (weighted, depth)
  rounded = Add (luma, half)
  grey_levels = Div (rounded, whole)
  """
_ANSWER = """
<ir_version: {ir}, opset_import: ["" : {opset}]>
answer (float[1, {classes}] logits) => (float[1, {classes}] {output})
<float temperature = {{{temperature}}}>
{{
  tempered = Div (logits, temperature)
  {output} = {link} (tempered)
}}
"""


def prepare(preprocessing: Preprocessing) -> onnx.ModelProto:
    """Return the graph from a uint8 picture (height, width, 3) to what the network takes, (1, channels, size, size)."""
    from onnx import parser

    filled = "filled" if preprocessing.resize == "pad" else "resized"
    grey = preprocessing.channels == 1
    text = _PREPARE.format(
        ir=IR,
        opset=OPSET,
        input=INPUT,
        size=preprocessing.size,
        mean=", ".join(map(repr, preprocessing.mean)),
        std=", ".join(map(repr, preprocessing.std)),
        cut=_CUT[preprocessing.resize],
        sides="fitted" if preprocessing.resize == "pad" else "target",
        fill=_FILL if preprocessing.resize == "pad" else "",
        grey=_GREY.replace("FILLED", filled) if grey else "",
        seen="grey_levels" if grey else filled,
        channels=preprocessing.channels,
    )
    return parser.parse_model(text)


def answer(record: BundleRecord) -> onnx.ModelProto:
    """Return the graph from logits (1, classes) to probabilities."""
    from onnx import parser

    link = "Sigmoid" if record.multi_label else "Softmax <axis = 1>"
    text = _ANSWER.format(
        ir=IR, opset=OPSET, classes=len(record.classes), output=OUTPUT, temperature=record.temperature, link=link
    )
    return parser.parse_model(text)
