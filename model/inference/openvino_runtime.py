"""Run graphs with OpenVINO on the CPU: load the package silently, convert networks, compile for each size."""

import importlib
import sys
import warnings
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ..errors import DeviceError
from .device import cpu_has_bf16

Arrays = Sequence[NDArray[np.float32]]
Shapes = tuple[tuple[int, ...], ...]

COMPILED_KEPT = 4
"""Sizes of windows that stay compiled; the jobs of a service have few."""

PRECISION_HINTS = {"fp32": "f32", "bf16": "bf16"}
"""What OpenVINO calls number formats."""

TELEMETRY = "openvino_telemetry"
"""Package that tells Google Analytics of every import and conversion unless the user has objected."""


def unquantised_precision() -> str:
    """Return the precision in which a quantised graph computes what is not quantised on this CPU.

    A key of PRECISION_HINTS: bf16 where the CPU has it.
    """
    return "bf16" if cpu_has_bf16() else "fp32"


def has_openvino() -> bool:
    """Tell whether the package is installed, without importing it."""
    return find_spec("openvino") is not None


def openvino_package() -> Any:
    """Import openvino, which the extra "openvino" installs, without its telemetry.

    Raises:
        DeviceError: It is not installed.
    """
    try:
        with without_telemetry():
            return importlib.import_module("openvino")
    except ModuleNotFoundError as error:
        raise DeviceError(
            f"the back end openvino needs {error.name}, which is not installed: pip install "
            "'darefine[openvino]', or set DAREFINE_BACKEND to torch or auto"
        ) from error


@contextmanager
def without_telemetry() -> Iterator[None]:
    """Hide the telemetry's package from imports inside the context: openvino and nncf then go without it.

    A service for hospitals calls nobody. What is imported here stays silent afterwards.
    """
    missing = object()
    before = sys.modules.get(TELEMETRY, missing)
    sys.modules[TELEMETRY] = None  # type: ignore[assignment]  # documented: makes its import fail
    try:
        yield
    finally:
        del sys.modules[TELEMETRY]
        if before is not missing:
            sys.modules[TELEMETRY] = before  # type: ignore[assignment]


def converted(network: nn.Module, inputs: Sequence[Tensor]) -> Any:
    """Return a network as an OpenVINO model whose inputs have the shapes of these.

    It is traced: branches are those that these shapes take.
    """
    openvino = openvino_package()
    # Tensors of inference mode cannot be traced.
    with torch.inference_mode(mode=False), torch.no_grad(), warnings.catch_warnings():
        # Of branches on shapes, which are as they should be for these.
        warnings.simplefilter("ignore")
        own = tuple(tensor.clone() for tensor in inputs)
        # Traced here, for the check that OpenVINO asks for stumbles over what does not matter.
        traced = torch.jit.trace(network.eval(), own, check_trace=False)  # type: ignore[no-untyped-call]
        model = openvino.convert_model(traced, example_input=own)
    return reshaped(model, tuple(tuple(tensor.shape) for tensor in own))


def numbered(model: Any) -> Any:
    """Name a model's operations by their order, and return it.

    Names that are made up count on within a process, so that the same network would not give the same file.
    """
    for number, operation in enumerate(model.get_ordered_ops()):
        operation.set_friendly_name(f"operation_{number}")
        for port, output in enumerate(operation.outputs()):
            output.get_tensor().set_names({f"tensor_{number}_{port}"})
    model.set_friendly_name("network")
    return model


def reshaped(model: Any, shapes: Shapes) -> Any:
    """Fix the shapes of a model's inputs, in their order, and return it."""
    openvino = openvino_package()
    model.reshape({port: openvino.PartialShape(list(shape)) for port, shape in enumerate(shapes)})
    return model


class CompiledGraph:
    """Graph that is compiled once for each set of input shapes; the last COMPILED_KEPT stay.

    Logits are the same to the bit whatever the number of threads.
    """

    def __init__(self, model_for: Callable[[Arrays], Any], *, precision: str, threads: int) -> None:
        """Take what makes the model.

        Args:
            model_for: Returns the OpenVINO model for the shapes of these inputs.
            precision: Key of PRECISION_HINTS; of a quantised graph, what is not quantised computes in it.
            threads: CPU threads of a pass.
        """
        self._core = openvino_package().Core()
        self._model_for = model_for
        self._options = {
            "INFERENCE_PRECISION_HINT": PRECISION_HINTS[precision],
            "INFERENCE_NUM_THREADS": threads,
            "NUM_STREAMS": 1,
            "PERFORMANCE_HINT": "LATENCY",
            # Threads bound to cores would have to share them with those that read the slide.
            "ENABLE_CPU_PINNING": False,
        }
        self._compiled: OrderedDict[Shapes, Any] = OrderedDict()

    def run(self, inputs: Arrays) -> NDArray[np.float32]:
        """Compute the first output of the graph from contiguous arrays, in the order of its inputs."""
        shapes = tuple(array.shape for array in inputs)
        if shapes not in self._compiled:
            while len(self._compiled) >= COMPILED_KEPT:
                self._compiled.popitem(last=False)
            compiled = self._core.compile_model(self._model_for(inputs), "CPU", self._options)
            self._compiled[shapes] = compiled.create_infer_request()
        self._compiled.move_to_end(shapes)
        request = self._compiled[shapes]
        request.infer(list(inputs), share_inputs=True, share_outputs=True)
        return np.array(request.get_output_tensor(0).data, dtype=np.float32)


def cpu_has_vnni() -> bool:
    """Tell whether this CPU multiplies int8 with 32-bit sums (AVX512-VNNI, AVX-VNNI or AMX).

    Others add pairs in 16 bits, which may overflow, so that labels in int8 may differ from theirs. False
    where PyTorch cannot tell.
    """
    return bool(getattr(torch.cpu, "_is_vnni_supported", bool)())
