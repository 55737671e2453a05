"""Match the inputs and outputs of an ONNX graph with what a model card says of them."""

from collections.abc import Sequence
from dataclasses import dataclass

from wsi.geometry import Size
from wsi.grid import make_grid
from wsi.patch_view import PatchView

from ..card import ModelCard
from ..errors import CardError
from ..onnx_graph import OnnxGraph
from .onnx_session import GraphPort, OnnxSession

IMAGE_DTYPES = {"float32", "float16", "float64", "uint8"}
LABEL_DTYPES = {"int8", "int32", "int64", "uint8", "float32"}
NOMINAL_SIZE = Size(100_000, 100_000)


@dataclass(frozen=True, slots=True)
class GraphPorts:
    """Inputs and output of a graph by what they are, and the sizes that it fixes."""

    window: GraphPort
    output: GraphPort
    context: GraphPort | None
    boxes: GraphPort | None
    context_boxes: GraphPort | None
    window_side: int | None
    """Height and width of a window in px; None: any."""
    context_side: int | None
    """The same of a context."""

    @property
    def batch(self) -> int | None:
        """Windows in a pass; None: any number."""
        return self.window.shape[0]

    @property
    def shares_context(self) -> bool:
        """Whether all windows of a pass have one context; otherwise each has its own."""
        return self.context is not None and self.context.shape[0] == 1


def ports_of(session: OnnxSession, card: ModelCard) -> GraphPorts:
    """Find the ports of a graph.

    Raises:
        CardError: Graph and card do not go together; the message says what to change in which.
    """
    graph = card.onnx or OnnxGraph()
    window = _window(session.inputs, graph, sees_patch=card.network.sees_patch)
    others = {port.name: port for port in session.inputs if port is not window}
    context, boxes, context_boxes = (
        others.pop(name, None) for name in (graph.context_input, graph.boxes_input, graph.context_boxes_input)
    )
    if others:
        raise CardError(
            f"the graph has the input {', '.join(others)}, which nothing here can fill. It may have windows, "
            "a context and boxes: onnx.window_input, context_input, boxes_input and context_boxes_input name "
            "them"
        )
    _check_context(context, boxes or context_boxes, card)
    side = _side(window, graph.layout, "window")
    context_side = None if context is None else _side(context, graph.layout, "context")
    output = _output(session.outputs, card, graph)
    found = GraphPorts(window, output, context, boxes, context_boxes, side, context_side)
    _check_numbers(found, card)
    _check_sizes(found, card)
    return found


def _window(inputs: Sequence[GraphPort], graph: OnnxGraph, *, sees_patch: bool) -> GraphPort:
    named = [port for port in inputs if port.name == graph.window_input]
    if named:
        return named[0]
    if len(inputs) == 1 and not sees_patch:
        return inputs[0]
    names = ", ".join(port.name for port in inputs) or "none"
    raise CardError(
        f"the graph has no input {graph.window_input!r}; its inputs are {names}: say in onnx.window_input "
        "which of them takes the windows"
    )


def _check_context(context: GraphPort | None, boxes: GraphPort | None, card: ModelCard) -> None:
    if context is not None and not card.network.sees_patch:
        raise CardError(
            f'the graph takes a context ({context.name}), and the card says second_input "single": say "dual"'
        )
    if context is None and card.network.sees_patch:
        raise CardError(
            'the card says second_input "dual", and the graph has no input for a context: say "single", or '
            "name it in onnx.context_input"
        )
    if boxes is not None and context is None:
        raise CardError("the graph takes boxes, but no context that they lie in")


def _side(port: GraphPort, layout: str, what: str) -> int | None:
    """Return the side of an input's images, None if any will do; check the rest of its shape."""
    shape, height = port.shape, 2 if layout == "NCHW" else 1
    channels = 1 if layout == "NCHW" else 3
    swapped = len(shape) == 4 and shape[channels] != 3 and shape[4 - channels] == 3
    if len(shape) != 4 or shape[channels] not in {3, None} or swapped:
        other = "NHWC" if layout == "NCHW" else "NCHW"
        cure = (
            f'set onnx.layout to "{other}"'
            if swapped
            else "a network here reads RGB images, four axes, one of them of 3 channels"
        )
        raise CardError(f"the {what} of the graph is {_shown(shape)}, the card says {layout}: {cure}")
    if port.dtype not in IMAGE_DTYPES:
        raise CardError(
            f"the {what} of the graph is of {port.dtype}; it must be float32, float16, float64 or uint8"
        )
    sides = set(shape[height : height + 2])
    if len(sides) > 1:
        raise CardError(
            f"the {what} of the graph is {_shown(shape)}, which is no square: export it with equal, or with "
            "dynamic, height and width"
        )
    return sides.pop()


def _output(outputs: Sequence[GraphPort], card: ModelCard, graph: OnnxGraph) -> GraphPort:
    names = ", ".join(port.name for port in outputs)
    wanted = [port for port in outputs if graph.output_name in {port.name, ""}]
    if not wanted:
        raise CardError(f"the graph has no output {graph.output_name!r}; its outputs are {names}")
    if len(wanted) > 1:
        raise CardError(f"the graph has the outputs {names}: say in onnx.output_name which to use")
    port, classes = wanted[0], len(card.classes)
    if graph.output == "labels":
        if port.dtype not in LABEL_DTYPES:
            raise CardError(f"the output {port.name} is of {port.dtype}, which are no labels")
        return port
    if not port.dtype.startswith("float"):
        raise CardError(
            f'the output {port.name} is of {port.dtype}: set onnx.output to "labels" if these are the '
            "indices of classes"
        )
    found = port.shape[1 if graph.layout == "NCHW" else 3] if len(port.shape) == 4 else None
    if found is not None and found != classes and (found, classes) != (1, 2):
        raise CardError(
            f"the graph gives {found} classes ({port.name} {_shown(port.shape)}), the card has {classes}: "
            "list as many, background included" + ("; a single score goes with two" if found == 1 else "")
        )
    return port


def _check_numbers(ports: GraphPorts, card: ModelCard) -> None:
    """Check that pixels which the graph wants as they are need no normalisation."""
    identity = not any(card.normalisation.mean) and set(card.normalisation.std) == {1.0}
    raw = identity and (card.onnx or OnnxGraph()).values == "0..255"
    if ports.window.dtype == "uint8" and not raw:
        raise CardError(
            'the graph takes pixels as they are (uint8): set onnx.values to "0..255", mean to 0, 0, 0 and '
            "std to 1, 1, 1; it normalises them itself"
        )


def _check_sizes(ports: GraphPorts, card: ModelCard) -> None:
    """Check the sizes that the graph fixes against those that slides at the card's own scale need."""
    view = make_grid(NOMINAL_SIZE, card.input.mpp, card.input).patch_view(0, ((0, 0),))
    needed, side = view.slice_network_px, ports.window_side
    if side is not None and (side > needed or (side != needed and ports.context is not None)):
        halo, remainder = divmod(side - view.slice_px, 2)
        fits = side >= view.slice_px and not remainder and not halo % 16
        cure = f"set input.halo_px to {halo}, or " if fits else ""
        raise CardError(
            f"the graph takes windows of {side} px only; those of {view.slice_px} px and input.halo_px on "
            f"each side have {needed} px: {cure}export it with a dynamic height and width"
        )
    if ports.context is not None:
        _check_context_sizes(ports, ports.context, view)


def _check_context_sizes(ports: GraphPorts, context: GraphPort, view: PatchView) -> None:
    centred = bool(view.context_windows)
    cut = centred and ports.context_boxes is None
    needed = view.context_window_network_px if cut else view.context_network_px
    if ports.context_side not in {None, needed}:
        raise CardError(
            f"the graph takes a context of {ports.context_side} px only; by the card's context_ratio, "
            f"slices_per_side and halo_px it has {needed} px: change these, or export it with a dynamic size"
        )
    if cut and ports.shares_context and ports.batch != 1:
        raise CardError(
            "the graph takes one context for all windows of a pass, and input.context is "
            '"centred", where each has its own: say "patch", or export the context with the same batch as '
            "the windows"
        )
    if context.shape[0] not in {None, 1, ports.batch}:
        raise CardError(
            f"the graph takes {context.shape[0]} contexts with {ports.batch or 'any number of'} "
            "windows: export it with one context, or with as many as windows"
        )


def _shown(shape: Sequence[int | None]) -> str:
    return "(" + ", ".join("?" if side is None else str(side) for side in shape) + ")"
