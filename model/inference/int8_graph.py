"""Quantised networks on disk: where they lie, what they were checked to do, and how they are read."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from wsi.atomic import write_atomically

from ..card import ModelCard
from ..errors import DeviceError
from .openvino_runtime import Arrays, cpu_has_vnni, openvino_package, reshaped, unquantised_precision

LEAST_AGREEMENT = 0.995
"""Share of tissue on which int8 must give the label of fp32; below it a quantised network is refused."""

RECIPE_VERSION = 2
"""Version of what is quantised, and how. What an older one made, or refused, is not looked at any more."""


@dataclass(frozen=True, slots=True)
class Int8Report:
    """What a quantised network was made of, and how far its labels are those of fp32."""

    weights_sha256: str
    graph_sha256: str
    """Of the two files, one after the other; empty where the network was refused and not kept."""
    versions: dict[str, str]
    """Of openvino, nncf and torch."""
    vnni: bool
    """Whether the CPU that it was checked on multiplies int8 with 32-bit sums."""
    slides: int
    """Slides that it was calibrated and checked on."""
    calibration_slices: int
    checked_slices: int
    """Slices of other patches, labelled in int8 and in fp32."""
    checked_px: int
    """Tissue pixels of these."""
    agreement: float
    """Share of them with the same label."""

    @property
    def good(self) -> bool:
        """Whether labels agree well enough."""
        return self.agreement >= LEAST_AGREEMENT

    def verdict(self, model: str) -> str:
        """Return one sentence on the labels, and what to do where they are not good enough."""
        told = f"{model} in int8 gives the label of fp32 on {100 * self.agreement:.2f} % of tissue"
        if self.good:
            return f"{told}."
        return (
            f"{told}, less than the {100 * LEAST_AGREEMENT:g} % that is asked for: it is refused. Set "
            "DAREFINE_PRECISION to auto, or quantise with slides that are more like yours."
        )


@dataclass(frozen=True, slots=True)
class Int8Files:
    """Files of one quantised network: an OpenVINO graph in two, and the report, which is written last."""

    graph: Path
    weights: Path
    report: Path

    @classmethod
    def of(cls, folder: Path, card: ModelCard) -> "Int8Files":
        """Name the files of a card's network on this machine.

        The name begins with the SHA-256 of the weights. Of another version of OpenVINO, or a CPU that adds
        int8 up in another way or has no bf16, labels were not checked, so these have a name of their own.
        """
        made_for = {
            "normalisation": asdict(card.normalisation),
            "network": asdict(card.network),
            "context": card.input.context,
            "openvino": openvino_package().__version__,
            "vnni": cpu_has_vnni(),
            "rest": unquantised_precision(),
            "recipe": RECIPE_VERSION,
        }
        digest = hashlib.sha256(json.dumps(made_for, sort_keys=True).encode()).hexdigest()
        stem = f"int8-{card.weights.sha256[:16]}-{digest[:8]}"
        return cls(*(folder / f"{stem}{suffix}" for suffix in (".xml", ".bin", ".json")))

    def sha256(self) -> str:
        """Return the SHA-256 of graph and weights, one after the other."""
        return hashlib.sha256(self.graph.read_bytes() + self.weights.read_bytes()).hexdigest()

    def keep(self, made: "Int8Files", report: Int8Report, *, anyway: bool = False) -> None:
        """Copy the graph of a good report here, and the report; of others the report alone.

        Args:
            made: Where the graph was written.
            report: What it was checked to do.
            anyway: Whether to keep the graph of a report that is not good too.
        """
        if report.good or anyway:
            self.graph.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(self.weights, made.weights.read_bytes())
            write_atomically(self.graph, made.graph.read_bytes())
        self.write_report(report)

    def write_report(self, report: Int8Report) -> None:
        """Write the report alone."""
        self.report.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(self.report, (json.dumps(asdict(report), indent=1) + "\n").encode())

    def read_report(self) -> Int8Report | None:
        """Return the report; None where there is none that this version can read."""
        try:
            return _REPORT.validate_json(self.report.read_bytes(), strict=True, extra="forbid")
        except (OSError, ValidationError):
            return None

    def model_for(self) -> Callable[[Arrays], Any]:
        """Return what reads the graph for the shapes of inputs."""
        core = openvino_package().Core()

        def read(inputs: Arrays) -> Any:
            return reshaped(core.read_model(str(self.graph)), tuple(array.shape for array in inputs))

        return read


_REPORT = TypeAdapter(Int8Report)


def find_int8(folder: Path, card: ModelCard) -> tuple[Int8Files, Int8Report]:
    """Return the quantised network of a card and its report.

    Raises:
        DeviceError: There is none, it is damaged, or its labels differ too much from those of fp32.
    """
    files = Int8Files.of(folder, card)
    report = files.read_report()
    if report is None:
        raise DeviceError(
            f"{card.name} has no int8 form for this machine in {folder}: make it with `darefine models "
            f"quantise {card.name} --slide SLIDE`, or set DAREFINE_PRECISION to auto"
        )
    if not report.good:
        raise DeviceError(report.verdict(card.name))
    try:
        intact = files.sha256() == report.graph_sha256
    except OSError:
        intact = False
    if not intact:
        raise DeviceError(
            f"the int8 form of {card.name} in {folder} is damaged: make it again with `darefine models "
            f"quantise {card.name} --slide SLIDE`"
        )
    return files, report
