"""Small ONNX graphs whose labels can be told from the pixels, and cards for them."""

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from model.card import CardWeights, ModelCard, NetworkConfig, Normalisation
from model.onnx_graph import OnnxGraph

FLOAT = TensorProto.FLOAT
Axes = Sequence[int | str]


def model_of(
    nodes: Sequence[Any],
    inputs: dict[str, tuple[int, Axes]],
    outputs: dict[str, tuple[int, Axes]],
    weights: dict[str, NDArray[Any]],
    *,
    opset: int = 18,
    ir: int = 9,
) -> onnx.ModelProto:
    ports = [
        [helper.make_tensor_value_info(name, dtype, shape) for name, (dtype, shape) in side.items()]
        for side in (inputs, outputs)
    ]
    tensors = [numpy_helper.from_array(array, name) for name, array in weights.items()]
    graph = helper.make_graph(list(nodes), "graph", *ports, tensors)
    domains = {node.domain for node in nodes} - {""}
    opsets = [helper.make_opsetid("", opset), *(helper.make_opsetid(domain, 1) for domain in domains)]
    made = helper.make_model(graph, opset_imports=opsets)
    made.ir_version = ir
    return made


def brightest_channel(
    *,
    head: str = "",
    layout: str = "NCHW",
    dtype: int = FLOAT,
    batch: int | str = "n",
    side: int | str = "side",
    channels: Sequence[int] = (0, 1, 2),
    bias: Sequence[float] = (0, 0, 0),
    kernel_px: int = 1,
    **options: Any,
) -> onnx.ModelProto:
    """Scores that are the values of `channels`, and `bias` more; `head` is an operator behind them."""
    kernel = np.zeros((len(channels), 3, kernel_px, kernel_px), np.float32)
    for score, channel in enumerate(channels):
        kernel[score, channel] = 1 / kernel_px**2
    weights = {"kernel": kernel, "bias": np.array(bias, np.float32)[: len(channels)]}
    nhwc = layout == "NHWC"
    shape = (batch, side, side, 3) if nhwc else (batch, 3, side, side)
    nodes, last = [], "image"

    def then(operator: str, *others: str, **attributes: Any) -> None:
        nonlocal last
        nodes.append(helper.make_node(operator, [last, *others], [f"out{len(nodes)}"], **attributes))
        last = f"out{len(nodes) - 1}"

    then("Cast", to=FLOAT)
    if nhwc:
        then("Transpose", perm=[0, 3, 1, 2])
    then("Conv", "kernel", "bias", pads=[kernel_px // 2] * 4)
    if head == "ArgMax":
        then("ArgMax", axis=1, keepdims=0)
    elif head:
        then(head, **({"axis": 1} if head == "Softmax" else {}))
    if nhwc and head != "ArgMax":
        then("Transpose", perm=[0, 2, 3, 1])
    out: Axes = (batch, len(channels), side, side)
    out = (batch, side, side, len(channels)) if nhwc else out
    result = (TensorProto.INT64, (batch, side, side)) if head == "ArgMax" else (FLOAT, out)
    return model_of(nodes, {"image": (dtype, shape)}, {last: result}, weights, **options)


def write_card(folder: Path, like: ModelCard, graph: onnx.ModelProto | bytes, **changes: Any) -> Path:
    """Write a graph and its card, `like` another one; values 0..1 are not normalised."""
    data = graph if isinstance(graph, bytes) else graph.SerializeToString()
    (folder / "graph.onnx").write_bytes(data)
    defaults: dict[str, Any] = {
        "name": "graph",
        "network": NetworkConfig(architecture="onnx", second_input="single"),
        "normalisation": Normalisation((0.0, 0.0, 0.0), (1.0, 1.0, 1.0)),
        "onnx": OnnxGraph(),
        "weights": CardWeights("graph.onnx", hashlib.sha256(data).hexdigest(), "float32"),
    }
    replace(like, **{**defaults, **changes}).save(folder / "graph.json")
    return folder / "graph.json"
