"""Networks that are compared: input modes and fusions of the paper, and ours, on encoders of one size."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from model.card import NetworkConfig
from model.training.from_scratch_recipe import SMALL


@dataclass(frozen=True, slots=True)
class Row:
    """Row of the tables: a network."""

    name: str
    title: str
    network: NetworkConfig


@dataclass(frozen=True, slots=True)
class Size:
    """Size of all networks of a study."""

    base: NetworkConfig
    unet_width: int
    """Multiple of 8 with which a U-Net's arithmetic for one slice comes nearest to that of `base`.

    Counted by model.network.flops.
    """


SIZES: Mapping[str, Size] = {"small": Size(SMALL, 8), "resnet50": Size(NetworkConfig(), 56)}
"""Sizes by name; "resnet50" is the paper's, for a GPU."""

INPUT_MODES = ("unet", "single", "multi-size", "add")
"""Rows of Table I: everything but the input is alike from "single" on."""
FUSIONS = ("add", "concat", "attention", "aligned")
"""Rows of Table II, all with the patch as second input, and ours."""


def rows_of(size: Size) -> tuple[Row, ...]:
    """Return all rows, in the order of the tables."""
    base = size.base
    unet = NetworkConfig(architecture="unet", encoder_width=size.unet_width, second_input="single")
    return (
        Row("unet", "U-Net", unet),
        Row("single", "single", replace(base, second_input="single", fusion="add")),
        Row("multi-size", "multi-size", replace(base, second_input="multi-size", fusion="add")),
        Row("add", "dual, add", replace(base, second_input="dual", fusion="add")),
        Row("concat", "dual, concat", replace(base, second_input="dual", fusion="concat")),
        Row("attention", "dual, attention", replace(base, second_input="dual", fusion="attention")),
        Row("aligned", "aligned (ours)", replace(base, second_input="aligned", fusion="attention")),
    )
