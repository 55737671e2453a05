"""Read and write model cards, the JSON beside the weights.

A card says what the weights are, what input they expect, and how they were made. No torch is imported:
commands and tests list cards without it.
"""

import dataclasses
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import TypeAdapter, ValidationError

from wsi.atomic import write_atomically
from wsi.grid import InputGeometry
from wsi.palette import LabelClass, Palette

from .errors import CardError
from .onnx_graph import OnnxGraph

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Normalisation:
    """Mean and deviation per channel (red, green, blue), of values 0..1.

    Network input = (value - mean) / std.
    """

    mean: tuple[float, float, float]
    std: tuple[float, float, float]


@dataclass(frozen=True, slots=True)
class ColourStatistics:
    """Optical density of the training slides' tissue in red, green and blue, as `wsi.appearance` measures it.

    Mean over the slides, and standard deviation between them.
    """

    mean: tuple[float, float, float]
    std: tuple[float, float, float]


@dataclass(frozen=True, slots=True)
class NetworkConfig:
    """Network that the weights fit; `model.network.build.build_network` makes it. Widths are channel counts.

    A "unet" has one input and one number, `encoder_width`, the channels of its first scale; the rest stays at
    its defaults. An "onnx" is a graph in a file, which ONNX Runtime computes: of it only `second_input` is
    said, "single" or, where it takes a context, "dual"; the card's `onnx` says the rest.

    `second_input` "aligned" is "dual" with the position of the slice in its patch made known; "hooked" joins
    the context at the bottleneck alone, cropped at the slice. `coarse_context` False leaves the whole map of
    the context out of the first refine block. `decoder` "light" has 1x1 convs in place of 3x3 ones, and
    fewer. None of these is in the paper.

    Raises:
        CardError: The values do not go together.
    """

    architecture: Literal["da_refinenet", "unet", "onnx"] = "da_refinenet"
    encoder_depth: Literal[18, 34, 50, 101, 152] = 50
    encoder_width: int = 64
    context_depth: Literal[18, 34, 50, 101, 152] = 50
    decoder_width: int = 256
    fusion: Literal["attention", "concat", "add"] = "attention"
    second_input: Literal["dual", "aligned", "hooked", "multi-size", "single"] = "dual"
    coarse_context: bool = True
    decoder: Literal["paper", "light"] = "paper"

    def __post_init__(self) -> None:
        # oneDNN (PyTorch 2.13) corrupts memory in the backward pass of channels-last kernels narrower than 8.
        if any(width < 8 or width % 8 for width in (self.encoder_width, self.decoder_width)):
            raise CardError("network widths must be multiples of 8")
        if self.second_input == "hooked" and not self.coarse_context:
            raise CardError("a hooked network sees its context in the first block alone: keep coarse_context")
        if self.architecture == "unet":
            if self.second_input != "single":
                raise CardError(
                    f'a unet has one input: set second_input to "single", not "{self.second_input}"'
                )
            self._check_only("encoder_width")
        if self.architecture == "onnx":
            if self.second_input not in {"single", "dual"}:
                raise CardError(
                    'second_input of an onnx must be "single", or "dual" where its graph takes a context, '
                    f'not "{self.second_input}"'
                )
            self._check_only("second_input")

    def _check_only(self, wanted: str) -> None:
        """Check that members that say nothing of this architecture are left out."""
        senseless = [
            field.name
            for field in dataclasses.fields(self)
            if field.name not in {"architecture", "second_input", wanted}
            and getattr(self, field.name) != field.default
        ]
        if senseless:
            kind = "a unet" if self.architecture == "unet" else "an onnx"
            raise CardError(f"{kind} has no {', '.join(senseless)}; leave out all but {wanted}")

    @property
    def sees_patch(self) -> bool:
        """Whether the network takes the patch as context; without it, slices are all it needs."""
        return self.second_input in {"dual", "aligned", "hooked"}

    @property
    def takes_boxes(self) -> bool:
        """Whether the network is told where in its context each slice lies."""
        return self.second_input in {"aligned", "hooked"}


@dataclass(frozen=True, slots=True)
class CardWeights:
    """Weights file: a name beside the card, the SHA-256 of its bytes in hex, and its storage dtype."""

    file: str
    sha256: str
    dtype: Literal["float16", "float32"]


@dataclass(frozen=True, slots=True)
class Calibration:
    """How far the network's confidence can be believed, and the temperature that mends it.

    The error is the expected calibration error: the mean difference, over pixels in 15 bins of the confidence
    of the predicted class, between confidence and share of right predictions.
    """

    temperature: float
    """Logits are divided by it before the softmax (`inference.probabilities.calibrated_softmax`)."""
    error: float
    """Expected calibration error at the temperature, 0..1."""
    error_uncalibrated: float
    """The same at temperature 1."""
    fitted_on: str
    """Set of the cohort whose pixels the temperature was fitted on."""
    measured_on: str
    """Set of the cohort whose pixels the errors are of."""


UNWRITTEN = CardWeights("unwritten.safetensors", "0" * 64, "float16")
"""Placeholder in the draft of a card until training has written the weights."""


@dataclass(frozen=True, slots=True)
class ModelCard:
    """Model card. Classes are in the order of the network's logits: channel k holds value k + 1.

    Raises:
        CardError: A value has the right type and still cannot be.
    """

    name: str
    version: str
    title: str
    description: str
    intended_use: str
    phantom: bool
    classes: tuple[LabelClass, ...]
    input: InputGeometry
    """Cut of slides for this network."""
    normalisation: Normalisation
    network: NetworkConfig
    weights: CardWeights
    training: Mapping[str, Any] = field(default_factory=dict)
    metrics: Mapping[str, Any] = field(default_factory=dict)
    colours: ColourStatistics | None = None
    """What jobs compare a slide's colours with; without it they are compared with H&E in general."""
    untrained: tuple[int, ...] = ()
    """Values of classes that no training pixel had."""
    calibration: Calibration | None = None
    """None in cards of earlier versions: the temperature is 1, and how far it may be believed is unknown."""
    licence: str = ""
    """Licence of the weights, an SPDX identifier such as "Apache-2.0"; empty: not stated."""
    onnx: OnnxGraph | None = None
    """How the graph is fed where the weights are an ONNX file; None: an `OnnxGraph` of all defaults."""

    def __post_init__(self) -> None:
        _check(self)

    @property
    def palette(self) -> Palette:
        """Classes with their colours."""
        return Palette(self.classes)

    @property
    def gives_probabilities(self) -> bool:
        """Whether the network gives logits or probabilities, and not labels alone."""
        return self.onnx is None or self.onnx.output != "labels"

    @classmethod
    def load(cls, path: Path) -> "ModelCard":
        """Read and check a card.

        Raises:
            CardError: It is no card; the message says what is wrong in it and what would be right.
        """
        try:
            data = json.loads(path.read_text(encoding="utf-8"))
        except OSError as error:
            raise CardError(
                f"cannot read the model card {path}: {error.strerror}. Name an existing .json."
            ) from error
        except ValueError as error:
            raise CardError(
                f"{path} is not JSON ({error}). A model card is the .json written by training."
            ) from error
        try:
            return cls.from_json(data)
        except CardError as error:
            raise CardError(f"{path}: {error}") from error

    @classmethod
    def from_json(cls, data: object) -> "ModelCard":
        """Return the card of a parsed JSON object.

        Raises:
            CardError: A member is missing, unknown, of another type than declared, or cannot be.
        """
        return parse_strictly(_CARD, with_present_names(data), "card")

    @staticmethod
    def json_schema() -> dict[str, Any]:
        """Return the JSON Schema of cards; `from_json` also checks what a schema cannot say."""
        return _CARD.json_schema()

    def to_json(self) -> dict[str, Any]:
        """Return the card as JSON-ready values, without members that say nothing and are not old."""
        values: dict[str, Any] = json.loads(json.dumps(dataclasses.asdict(self)))
        if self.network.architecture == "onnx":
            # Depths and widths are ours and say nothing of a graph.
            values["network"] = {name: values["network"][name] for name in ("architecture", "second_input")}
        if self.input.context_margin_px is None:
            del values["input"]["context_margin_px"]
        return {name: value for name, value in values.items() if value or name not in _ADDED}

    def save(self, path: Path) -> None:
        """Write the card: whole, or not at all."""
        write_atomically(path, (json.dumps(self.to_json(), indent=2) + "\n").encode())


_ADDED = frozenset({"colours", "untrained", "licence", "onnx"})
"""Members that cards of earlier versions have not; an empty one is not written."""

_CARD = TypeAdapter(ModelCard)
_GEOMETRY = TypeAdapter(InputGeometry)

FORMER_NAMES = {"tiles_per_side": "slices_per_side"}
"""Members of a card's `input` by the names that earlier versions wrote."""


def parse_geometry(data: object) -> InputGeometry:
    """Return the geometry of a card's `input`, a parsed JSON object.

    Raises:
        CardError: A member is missing, unknown or of another type.
    """
    return parse_strictly(_GEOMETRY, with_present_names({"input": data})["input"], "input")


def with_present_names(data: Any) -> Any:
    """Return parsed JSON with the members of its `input` under their present names."""
    if not isinstance(data, Mapping) or not isinstance(data.get("input"), Mapping):
        return data
    renamed = {FORMER_NAMES.get(name, name): value for name, value in data["input"].items()}
    return {**data, "input": renamed}


def parse_strictly(adapter: TypeAdapter[T], data: object, where: str) -> T:
    """Return parsed JSON as the adapter's type: every member known, every type as declared.

    Raises:
        CardError: It is not; `where` begins the names of members in the message.
    """
    try:
        return adapter.validate_json(json.dumps(data), strict=True, extra="forbid")
    except ValidationError as error:
        raise CardError("; ".join(_told(problem, where) for problem in error.errors())) from error


def _told(problem: Any, where: str) -> str:
    """Return one problem that pydantic found, in words, with the path of its member."""
    *outer, name = problem["loc"] or ("",)
    path = where + "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in outer)
    if problem["type"] == "missing":
        return f"{path} lacks {name}; add it"
    if problem["type"] == "unexpected_keyword_argument":
        return f"{path} has the unknown key {name}; leave it out"
    cause = problem.get("ctx", {}).get("error")
    if cause is not None:
        return str(cause)
    member = f"[{name}]" if isinstance(name, int) else f".{name}" if name else ""
    return f"{path}{member}: {problem['msg']}, not {problem['input']!r}"


def _check(card: ModelCard) -> None:
    """Check values that may have the right type and still cannot be.

    Raises:
        CardError: One cannot be; the message says what would be right.
    """
    values = [entry.value for entry in card.classes]
    rules = {
        "name is empty or has a path separator; use letters, digits and dashes": not _is_file_name(card.name),
        (
            f"class values are {values}; number them 1, 2, 3, ... in the order of the logits "
            "(0 means not analysed)"
        ): (not values or values != list(range(1, len(values) + 1)) or len(values) > 255),
        "a colour is not three numbers of 0..255": any(
            not 0 <= part <= 255 for entry in card.classes for part in entry.colour
        ),
        "input.mpp must be 0.05..20 um/px": not 0.05 <= card.input.mpp <= 20,
        "input.context_ratio and input.slices_per_side must be at least 1": (
            min(card.input.context_ratio, card.input.slices_per_side) < 1
        ),
        "input.halo_px and input.context_margin_px must be multiples of 16 from 0 to 512": any(
            px % 16 != 0 or not 0 <= px <= 512
            for px in (card.input.halo_px, card.input.context_margin_px or 0)
        ),
        'input.context is "centred" for a network that sees no context; leave it at "patch"': (
            card.input.context == "centred" and not card.network.sees_patch
        ),
        'onnx is for a network of architecture "onnx"; leave it out, or set network.architecture': (
            card.onnx is not None and card.network.architecture != "onnx"
        ),
        "calibration.temperature must be a number above 0": card.calibration is not None
        and not 0 < card.calibration.temperature < math.inf,
        "normalisation.std must be above 0": min(card.normalisation.std) <= 0,
        "untrained names values that are no class": not set(card.untrained) <= set(values),
    } | _weights_rules(card.weights)
    for message, broken in rules.items():
        if broken:
            raise CardError(message)


def _weights_rules(weights: CardWeights) -> dict[str, bool]:
    """Return what must not be of the weights that a card names, by the message that says so."""
    return {
        "weights.file must be a bare file name; the weights lie beside the card": not _is_file_name(
            weights.file
        ),
        "weights.sha256 must be 64 hexadecimal digits; `sha256sum` prints them": not _is_sha256(
            weights.sha256
        ),
    }


def _is_file_name(name: str) -> bool:
    return bool(name) and name not in {".", ".."} and not set(name) & {"/", "\\", "\0"}


def _is_sha256(text: str) -> bool:
    return len(text) == 64 and set(text) <= set("0123456789abcdef")
