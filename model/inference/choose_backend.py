"""Choose what computes a network of ours: torch or OpenVINO."""

from pathlib import Path

import torch

from ..card import ModelCard
from ..errors import DeviceError
from ..network.base import SegmentationNetwork
from .int8_graph import find_int8
from .openvino_backend import OpenVinoBackend

BACKENDS = ("auto", "torch", "openvino")


def choose_backend(name: str, precision: str, device: str) -> str:
    """Return "torch" or "openvino" for a name, a precision and a device as they are asked for.

    "auto" is torch, and OpenVINO for int8 alone, which torch does not compute here: labels must not change
    because a package was installed (docs/decisions/0069 has the figures).

    Raises:
        DeviceError: The name is unknown, or back end, precision and device do not go together.
    """
    if name not in BACKENDS:
        raise DeviceError(f"back end {name!r} is unknown; use {', '.join(BACKENDS)}")
    if name == "auto":
        name = "openvino" if precision == "int8" else "torch"
    if name == "torch" and precision == "int8":
        raise DeviceError(
            "torch does not compute in int8 here, OpenVINO does: set DAREFINE_BACKEND to openvino or auto, "
            "or DAREFINE_PRECISION to another"
        )
    on_cpu = device == "cpu" or (device == "auto" and not torch.cuda.is_available())
    if precision == "int8" and not on_cpu:
        raise DeviceError(f"int8 is for CPUs, not for {device!r}: set DAREFINE_DEVICE to cpu")
    if name == "openvino" and device not in {"auto", "cpu"}:
        raise DeviceError(
            f"OpenVINO computes on the CPU here, not on {device!r}: set DAREFINE_DEVICE to cpu, or "
            "DAREFINE_BACKEND to torch or auto"
        )
    return name


def openvino_backend(
    network: SegmentationNetwork, card: ModelCard, *, precision: str, int8_dir: Path | None
) -> OpenVinoBackend:
    """Return a card's network in OpenVINO; its quantised form lies in `int8_dir`.

    Raises:
        DeviceError: OpenVINO is not installed, or the precision or the quantised form is not to be had.
    """
    if precision != "int8":
        return OpenVinoBackend(network, card.normalisation, precision=precision)
    if int8_dir is None:
        raise DeviceError(f"nothing says where the int8 form of {card.name} lies; use another precision")
    files, report = find_int8(int8_dir, card)
    return OpenVinoBackend(
        network,
        card.normalisation,
        precision=precision,
        int8_model=files.model_for(),
        int8_sha256=report.graph_sha256,
    )
