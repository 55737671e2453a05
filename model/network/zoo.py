"""Table of named networks: every row of the paper's tables; "aligned", "centred", "hooked" and "light".

This module does not import torch.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from wsi.grid import ContextMode

from ..card import NetworkConfig


@dataclass(frozen=True, slots=True)
class PaperScores:
    """Test scores of the paper's Table II in percent; `iou` of normal, benign, in situ, invasive."""

    miou: float
    iou: tuple[float, float, float, float]
    accuracy: float
    score: float


@dataclass(frozen=True, slots=True)
class NamedNetwork:
    """A network configuration with the paper's figures for it; None or empty where the paper has none."""

    config: NetworkConfig
    paper_mb: float | None = None
    """"Params" of Table I: fp32 weights, 1e6 bytes."""
    paper_scores: PaperScores | None = None
    note: str = ""
    context: ContextMode = "patch"
    """What its slices see as context, where `darefine train` is not told otherwise."""


NETWORKS: Mapping[str, NamedNetwork] = {
    "unet": NamedNetwork(
        NetworkConfig(architecture="unet", second_input="single"),
        150,
        PaperScores(31.2, (45.5, 25.0, 20.1, 50.2), 57.2, 49.1),
        note="as published in 2015, 31.0 M parameters or 124 MB; 150 MB would be 37.5 M, and the paper does "
        "not say what its U-Net has more",
    ),
    "resnet50-single": NamedNetwork(
        NetworkConfig(fusion="add", second_input="single"),
        334,
        PaperScores(36.2, (60.5, 28.0, 21.8, 55.0), 67.1, 58.8),
    ),
    "resnet101-single": NamedNetwork(
        NetworkConfig(encoder_depth=101, fusion="add", second_input="single"),
        417,
        PaperScores(42.2, (58.5, 22.3, 29.8, 58.1), 73.8, 69.0),
    ),
    "resnet152-single": NamedNetwork(
        NetworkConfig(encoder_depth=152, fusion="add", second_input="single"),
        480,
        PaperScores(39.7, (59.0, 27.7, 28.3, 52.5), 72.7, 69.7),
    ),
    "resnet50-50-multi-size": NamedNetwork(
        NetworkConfig(fusion="add", second_input="multi-size"),
        441,
        PaperScores(44.8, (60.9, 24.2, 31.1, 63.1), 74.1, 71.2),
    ),
    "resnet101-50-multi-size": NamedNetwork(
        NetworkConfig(encoder_depth=101, fusion="add", second_input="multi-size"),
        517,
        PaperScores(44.4, (59.1, 28.4, 33.0, 62.9), 73.7, 69.9),
    ),
    "resnet152-50-multi-size": NamedNetwork(
        NetworkConfig(encoder_depth=152, fusion="add", second_input="multi-size"),
        580,
        PaperScores(44.7, (60.4, 25.3, 31.2, 61.8), 74.9, 71.1),
    ),
    "resnet50-50-add": NamedNetwork(
        NetworkConfig(fusion="add"), 441, PaperScores(45.9, (55.3, 32.9, 37.1, 58.6), 75.1, 71.1)
    ),
    "resnet101-50-add": NamedNetwork(
        NetworkConfig(encoder_depth=101, fusion="add"),
        517,
        PaperScores(46.5, (58.0, 34.5, 38.9, 61.4), 75.1, 71.6),
    ),
    "resnet152-50-add": NamedNetwork(
        NetworkConfig(encoder_depth=152, fusion="add"),
        580,
        PaperScores(46.8, (59.5, 38.1, 28.8, 60.9), 75.5, 71.5),
    ),
    "resnet50-50-concat": NamedNetwork(
        NetworkConfig(fusion="concat"), None, PaperScores(48.9, (60.1, 38.9, 39.2, 58.3), 75.7, 71.5)
    ),
    "resnet101-50-concat": NamedNetwork(
        NetworkConfig(encoder_depth=101, fusion="concat"),
        None,
        PaperScores(47.8, (58.3, 36.6, 42.0, 60.0), 74.4, 71.9),
    ),
    "resnet50-50-attention": NamedNetwork(
        NetworkConfig(), None, PaperScores(51.0, (61.1, 40.9, 39.4, 62.3), 76.4, 72.0)
    ),
    "resnet101-50-attention": NamedNetwork(
        NetworkConfig(encoder_depth=101), None, PaperScores(49.9, (59.3, 36.6, 44.0, 59.7), 74.8, 72.1)
    ),
    "resnet152-50-attention": NamedNetwork(
        NetworkConfig(encoder_depth=152), note="the paper's text names it, its tables do not score it"
    ),
    "resnet50-50-aligned": NamedNetwork(
        NetworkConfig(second_input="aligned"),
        note="ours, not in the paper: attention that knows where in the patch the slice lies",
    ),
    "resnet50-50-centred": NamedNetwork(
        NetworkConfig(second_input="aligned"),
        note="ours, not in the paper: the same, with a context of its own centred on each slice",
        context="centred",
    ),
    "resnet50-50-hooked": NamedNetwork(
        NetworkConfig(second_input="hooked"),
        note="after HookNet, not in the paper: a centred context that joins at the bottleneck alone, cropped "
        "at the slice",
        context="centred",
    ),
    "resnet50-50-attention-light": NamedNetwork(
        NetworkConfig(decoder="light"),
        note="ours, not in the paper: 1x1 convs in the decoder, as in Light-Weight RefineNet",
    ),
}
"""Name -> network. A name gives the slice encoder, the context encoder, and the fusion or the second input;
the fusion of "aligned" and "centred" is attention, that of "single" and "multi-size" is add; "hooked" joins
by concatenation, once. "light" is the decoder."""
