"""Describe the graph of an ONNX file: what its inputs take and what its output is."""

import importlib
from dataclasses import dataclass
from typing import Any, Literal

from .errors import CardError, WeightsError


@dataclass(frozen=True, slots=True)
class OnnxGraph:
    """What a model card says of the graph in its ONNX file.

    The number of windows in a pass, the sides of the windows and the number format are read from the graph
    itself. Mean and deviation are those of the card's `normalisation`, in the unit of `values`.

    Raises:
        CardError: Two inputs have the same name.
    """

    output: Literal["logits", "softmax", "sigmoid", "labels"] = "logits"
    """What comes out: scores before any activation, probabilities after softmax or sigmoid, or class indices
    from 0 on. A single channel of scores or of sigmoid probabilities is that of the second of two classes."""
    layout: Literal["NCHW", "NHWC"] = "NCHW"
    """Order of the axes of images, and of what comes out."""
    values: Literal["0..1", "0..255"] = "0..1"
    """Black and white, before the card's mean is taken away and its deviation divided by."""
    channels: Literal["RGB", "BGR"] = "RGB"
    """Order of the colours; mean and deviation are red, green, blue in the card all the same."""
    window_input: str = "window"
    """Input of the windows; a graph of one input may call it anything."""
    context_input: str = "context"
    """Input of the context, in a graph of the kind "dual"."""
    boxes_input: str = "boxes"
    """Input of where each window lies in its context, in a graph that wants to know it: (N, 4), left, top,
    right and bottom as fractions of the context's sides."""
    context_boxes_input: str = "context_boxes"
    """Input of where each window's own context lies, in a graph that cuts it out of one field for all windows
    of a pass: (N, 4), fractions of the field's sides."""
    output_name: str = ""
    """Output to use; a graph of one output need not say it."""

    def __post_init__(self) -> None:
        names = [self.window_input, self.context_input, self.boxes_input, self.context_boxes_input]
        if len(set(names)) < len(names):
            raise CardError(f"onnx names one input twice: {', '.join(names)}; each has a name of its own")


def onnx_packages() -> tuple[Any, Any]:
    """Import onnxruntime and onnx, which the extra "onnx" installs.

    Raises:
        WeightsError: One of them is not installed.
    """
    try:
        return importlib.import_module("onnxruntime"), importlib.import_module("onnx")
    except ModuleNotFoundError as error:
        raise WeightsError(
            f"an ONNX file needs {error.name}, which is not installed: pip install 'darefine[onnx]'"
        ) from error
