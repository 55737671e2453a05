"""Networks that are compared: input modes and fusions of the paper, and others, on encoders of one size."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from model.card import NetworkConfig
from model.training.from_scratch_recipe import SMALL
from wsi.grid import ContextMode


@dataclass(frozen=True, slots=True)
class Row:
    """Row of the tables: a network, and how it is trained."""

    name: str
    title: str
    network: NetworkConfig
    context: ContextMode = "patch"
    """What its slices see as context."""
    shuffled: bool = False
    """Control: trained with the contexts of other patches, so that they say nothing; tested with its own."""


@dataclass(frozen=True, slots=True)
class Size:
    """Size of all networks of a study."""

    base: NetworkConfig
    unet_width: int
    """Multiple of 8 with which a U-Net's arithmetic for one slice comes nearest to that of `base`.

    Counted by model.network.flops.
    """
    precision: str
    """Of the test; "auto" is what the device is fast at."""


SIZES: Mapping[str, Size] = {
    "small": Size(SMALL, 8, "auto"),
    "resnet50": Size(NetworkConfig(), 56, "bf16"),
}
"""Sizes by name; "resnet50" is the paper's, for a GPU."""

INPUT_MODES = ("unet", "single", "multi-size", "add")
"""Rows of Table I: everything but the input is alike from "single" on."""
FUSIONS = ("add", "concat", "attention")
"""Rows of Table II, all with the patch as second input."""
PLACES = ("attention", "no-coarse", "shuffled", "hooked", "aligned", "aligned-no-coarse", "centred", "light")
"""Rows on where a context lies and where it joins, and on a cheaper decoder; not in the paper."""


def rows_of(size: Size) -> tuple[Row, ...]:
    """Return all rows, in the order of the tables."""
    base = size.base
    unet = NetworkConfig(architecture="unet", encoder_width=size.unet_width, second_input="single")
    dual = replace(base, second_input="dual", fusion="attention")
    aligned = replace(dual, second_input="aligned")
    return (
        Row("unet", "U-Net", unet),
        Row("single", "single", replace(base, second_input="single", fusion="add")),
        Row("multi-size", "multi-size", replace(base, second_input="multi-size", fusion="add")),
        Row("add", "dual, add", replace(dual, fusion="add")),
        Row("concat", "dual, concat", replace(dual, fusion="concat")),
        Row("attention", "dual, attention", dual),
        Row("no-coarse", "attention, no coarse map", replace(dual, coarse_context=False)),
        Row("shuffled", "attention, shuffled contexts", dual, shuffled=True),
        Row("hooked", "hooked (after HookNet)", replace(dual, second_input="hooked"), "centred"),
        Row("aligned", "aligned (ours)", aligned),
        Row("aligned-no-coarse", "aligned, no coarse map (ours)", replace(aligned, coarse_context=False)),
        Row("centred", "centred (ours)", aligned, "centred"),
        Row("light", "attention, light decoder (ours)", replace(dual, decoder="light")),
    )
