"""Time slices in int8 with OpenVINO, ONNX Runtime and torch's compiler, beside torch in fp32 and bf16.

`python -m benchmarks.decisions.int8_runtimes`; about five minutes. It needs the extras quantise and onnx, and
for torch's int8 a C++ compiler and `pip install --no-deps torchao==0.18.0`, else that is left out. Each
runtime quantises with its own tool, OpenVINO as the service does, the others all they can. Weights and
calibration are random, which costs the same. One thread, and the seconds of its core alone.
"""

import tempfile
import time
import warnings
from collections.abc import Callable, Sequence
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from typing import Any

import click
import torch
import torch._inductor.config as inductor
from onnxruntime import InferenceSession, SessionOptions
from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process

from model.card import Normalisation
from model.evaluation.report import markdown
from model.inference.cpu_tuning import tune_malloc
from model.inference.flat_network import FlatNetwork, flat_inputs
from model.inference.onnx_export import OPSET, quiet_exporter
from model.inference.openvino_runtime import Arrays, CompiledGraph, converted, unquantised_precision
from model.inference.quantise import nncf_package, quantised_model
from workers.bench.measure import machine

from .fastest import rounds_ms, times_faster
from .less_work import WINDOW_PX, Case, native_precisions, network_of, network_option, pass_of, rounds_option

SAMPLES = 4
"""Windows of noise that scales are taken from."""


@click.command()
@rounds_option
@network_option
def main(rounds: int, cases: list[Case]) -> None:
    """Print the median time of a slice in each way, and how much faster than torch in fp32 it is."""
    tune_malloc()
    torch.set_num_threads(1)
    table = [["network", "way", "core ms a slice", "times faster than torch in fp32", "range"]]
    for case in cases:
        table += [[case.name, *row] for row in compared(case, rounds)]
    click.echo(f"{markdown(table)}\n\n{torch.get_num_threads()} threads, {machine()}")


def compared(case: Case, rounds: int) -> list[list[str]]:
    """Return a row for each way, all of which take turns."""
    samples, flat = graph_of(case)
    in_torch = {f"torch, {precision}": precision for precision in native_precisions()}
    ways: dict[str, Callable[[], object]] = {
        **{name: torch.inference_mode()(pass_of(case, precision)) for name, precision in in_torch.items()},
        "OpenVINO, int8": openvino_pass(flat, samples),
        "ONNX Runtime, int8": onnxruntime_pass(flat, samples),
    }
    if find_spec("torchao"):
        ways["torch, int8, compiled"] = compiled_pass(flat, samples)
    counts = {name: case.slices if name in in_torch else 1 for name in ways}
    times = rounds_ms(ways, rounds, time.process_time)
    per_slice = {name: [ms / counts[name] for ms in taken] for name, taken in times.items()}
    return [
        [name, f"{median(taken):.1f}", *times_faster(per_slice["torch, fp32"], taken)]
        for name, taken in per_slice.items()
    ]


@torch.no_grad()
def graph_of(case: Case, window_px: int = WINDOW_PX) -> tuple[list[Arrays], FlatNetwork]:
    """Return inputs of noise, and the network that takes them, for one window with its context."""
    network = network_of(case, "fp32", onednn=False)
    normalisation = Normalisation((0.5,) * 3, (0.2,) * 3)
    features = network.encode_context(torch.randn(1, 3, 256, 256))
    box = torch.tensor([[0.4, 0.4, 0.6, 0.6]])
    windows = 255 * torch.rand(SAMPLES, 1, 3, window_px, window_px)
    samples: list[Arrays] = [
        [own.contiguous().numpy() for own in flat_inputs(window, features, box, 0)] for window in windows
    ]
    return samples, FlatNetwork(network, normalisation, features).eval()


def openvino_pass(flat: FlatNetwork, samples: Sequence[Arrays]) -> Callable[[], Any]:
    """Return a pass of one window in OpenVINO, quantised and computed as the service does it."""
    model = converted(flat, [torch.from_numpy(own) for own in samples[0]])
    quantised = quantised_model(model, samples, nncf_package())
    graph = CompiledGraph(lambda _inputs: quantised, precision=unquantised_precision(), threads=1)
    return lambda: graph.run(samples[0])


def onnxruntime_pass(flat: FlatNetwork, samples: Sequence[Arrays]) -> Callable[[], Any]:
    """Return a pass of one window in ONNX Runtime, quantised by its own tool: u8 values, s8 kernels."""
    names = [f"input_{number}" for number in range(len(samples[0]))]
    with tempfile.TemporaryDirectory() as folder:
        exported, prepared, written = (str(Path(folder) / f"{name}.onnx") for name in ("fp32", "pre", "int8"))
        with quiet_exporter():
            torch.onnx.export(
                flat,
                tuple(torch.from_numpy(own) for own in samples[0]),
                exported,
                input_names=names,
                opset_version=OPSET,
                dynamo=True,
                external_data=False,
                verbose=False,
            )
        quant_pre_process(exported, prepared)
        quantize_static(
            prepared,
            written,
            _Samples([dict(zip(names, own, strict=True)) for own in samples]),
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            calibrate_method=CalibrationMethod.MinMax,
        )
        options = SessionOptions()
        options.intra_op_num_threads = 1
        session = InferenceSession(written, options, providers=["CPUExecutionProvider"])
    taken = {port.name for port in session.get_inputs()}
    inputs = {name: own for name, own in zip(names, samples[0], strict=True) if name in taken}
    return lambda: session.run(None, inputs)


@torch.no_grad()
def compiled_pass(flat: FlatNetwork, samples: Sequence[Arrays]) -> Callable[[], object]:
    """Return a pass of one window in torch, quantised for x86 by torchao and compiled with frozen weights."""
    pt2e = import_module("torchao.quantization.pt2e.quantize_pt2e")
    x86 = import_module("torchao.quantization.pt2e.quantizer.x86_inductor_quantizer")
    inputs = [tuple(torch.from_numpy(own) for own in sample) for sample in samples]
    quantizer = x86.X86InductorQuantizer().set_global(x86.get_default_x86_inductor_quantization_config())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        prepared = pt2e.prepare_pt2e(torch.export.export(flat, inputs[0]).module(), quantizer)
        for own in inputs:
            prepared(*own)
        compiled: Any = torch.compile(pt2e.convert_pt2e(prepared))
        with inductor.patch(freezing=True):
            compiled(*inputs[0])
    return torch.no_grad()(lambda: compiled(*inputs[0]))


class _Samples(CalibrationDataReader):  # type: ignore[misc]  # has no types
    """Inputs to take scales from, in the form that ONNX Runtime asks for."""

    def __init__(self, samples: Sequence[dict[str, Any]]) -> None:
        self._samples = iter(samples)

    def get_next(self) -> dict[str, Any] | None:  # type: ignore[override,unused-ignore]
        """Return the next inputs, None after the last."""
        return next(self._samples, None)


if __name__ == "__main__":
    main()
