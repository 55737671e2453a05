"""Open an ONNX file as data: checked bytes, standard operators, nothing read from beside it."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError, WeightsError
from ..onnx_graph import onnx_packages

NUMBERS = {
    "tensor(float)": "float32",
    "tensor(float16)": "float16",
    "tensor(double)": "float64",
    "tensor(uint8)": "uint8",
    "tensor(int8)": "int8",
    "tensor(int32)": "int32",
    "tensor(int64)": "int64",
}
"""Number formats of inputs and outputs by ONNX Runtime's names."""

REFUSALS = (
    (
        re.compile(r"Opset (\d+) is .*support for domain (\S+) is till opset (\d+)", re.DOTALL),
        (
            "it is written in opset {0} of {1}, and {runtime} reads up to {2}. Export it again with a lower "
            "opset_version (18 is widely read), or install a newer onnxruntime."
        ),
    ),
    (
        re.compile(r"Unsupported model IR version: (\d+), max supported IR version: (\d+)"),
        (
            "its format is IR version {0}, and {runtime} reads up to {1}. Write it again with an older "
            "`onnx`, or install a newer onnxruntime."
        ),
    ),
    (
        re.compile(r"(\S+?)\(-?\d+\) is not a registered function/op"),
        (
            "it has the operator {0}, which is none of ONNX's own. Operators of others are programs and are "
            "not loaded; export the network with standard operators."
        ),
    ),
)
"""What ONNX Runtime says of a file that it cannot use, and what it means."""

_ORIGIN = re.compile(r"^\[ONNXRuntimeError\] : \d+ : \w+ : (?:/\S+:\d+ .*\) )?")


@dataclass(frozen=True, slots=True)
class GraphPort:
    """An input or output of a graph."""

    name: str
    shape: tuple[int | None, ...]
    """None: a side that may have any length."""
    dtype: str
    """Number format by numpy's name."""


class OnnxSession:
    """Graph that ONNX Runtime has loaded, on the CPU."""

    def __init__(self, data: bytes, *, threads: int, where: str) -> None:
        """Load the bytes of an ONNX file.

        Args:
            data: The file, already checked against the card.
            threads: CPU threads of one pass.
            where: Name of the file, for messages.

        Raises:
            WeightsError: ONNX Runtime is not installed or cannot use the file, or weights lie in another one.
        """
        runtime, onnx = onnx_packages()
        self.runtime = f"onnxruntime {runtime.__version__}"
        self._where = where
        _check_self_contained(onnx, data, where)
        options = runtime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        # Threads that spin while they wait take the cores of those that read the slide.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.log_severity_level = 3
        try:
            self._session = runtime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # its classes have no ancestor of their own
            raise WeightsError(f"{where} cannot be used: {_in_words(error, self.runtime)}") from error
        self.inputs = tuple(map(_port, self._session.get_inputs()))
        self.outputs = tuple(map(_port, self._session.get_outputs()))

    def run(self, feed: Mapping[str, NDArray[np.generic]], output: str) -> NDArray[np.generic]:
        """Compute one output of the graph.

        Raises:
            InputError: The graph does not take these arrays.
        """
        try:
            result: NDArray[np.generic] = self._session.run([output], dict(feed))[0]
        except Exception as error:  # as above
            shapes = ", ".join(f"{name} {array.shape}" for name, array in feed.items())
            raise InputError(
                f"the graph of {self._where} does not take {shapes}: {_in_words(error, self.runtime)}"
            ) from error
        return result


def read_graph(path: Path, data: bytes, *, threads: int) -> OnnxSession:
    """Return the loaded graph of a file whose bytes are `data`; see `OnnxSession`."""
    return OnnxSession(data, threads=threads, where=str(path))


def _check_self_contained(onnx: Any, data: bytes, where: str) -> None:
    """Check that all tensors lie in the file itself: ONNX Runtime would read other files as weights.

    Raises:
        WeightsError: They do not, or it is no ONNX file.
    """
    try:
        model = onnx.load_model_from_string(data)
    except Exception as error:  # protobuf's own, which is not to be imported
        raise WeightsError(f"{where} is not an ONNX file ({error}). Export it, or fetch it again.") from error
    for tensor in _tensors(model):
        if tensor.data_location == onnx.TensorProto.EXTERNAL:
            raise WeightsError(
                f"{where} keeps the tensor {tensor.name!r} in another file, whose bytes no sha256 "
                "vouches for. Write one file: torch.onnx.export(..., external_data=False), or "
                "onnx.save(onnx.load('model.onnx'), 'one-file.onnx')."
            )


def _tensors(model: Any) -> Iterator[Any]:
    """Yield every tensor of a model: those of graphs, of graphs within, and of functions."""
    yield from _tensors_of_graph(model.graph)
    for function in model.functions:
        yield from _tensors_of_nodes(function.node)


def _tensors_of_graph(graph: Any) -> Iterator[Any]:
    yield from graph.initializer
    for sparse in graph.sparse_initializer:
        yield from (sparse.values, sparse.indices)
    yield from _tensors_of_nodes(graph.node)


def _tensors_of_nodes(nodes: Any) -> Iterator[Any]:
    for node in nodes:
        for attribute in node.attribute:
            yield from (attribute.t, *attribute.tensors)
            for sparse in (attribute.sparse_tensor, *attribute.sparse_tensors):
                yield from (sparse.values, sparse.indices)
            for graph in (attribute.g, *attribute.graphs):
                yield from _tensors_of_graph(graph)


def _port(argument: Any) -> GraphPort:
    """Return a port as ONNX Runtime describes it; named and unknown sides have no length."""
    shape = tuple(side if isinstance(side, int) and side > 0 else None for side in argument.shape)
    return GraphPort(argument.name, shape, NUMBERS.get(argument.type, argument.type))


def _in_words(error: Exception, runtime: str) -> str:
    """Return what ONNX Runtime complains of, without its source lines, with a cure where one is known."""
    text = str(error)
    for pattern, words in REFUSALS:
        if found := pattern.search(text):
            return words.format(*found.groups(), runtime=runtime)
    return f"{runtime} says: {' '.join(_ORIGIN.sub('', text).split())}"
