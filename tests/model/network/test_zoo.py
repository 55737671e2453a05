"""The paper's tables as configurations, and what they weigh and cost."""

import subprocess
import sys

import pytest
import torch

from model.card import NetworkConfig
from model.network.build import build_network
from model.network.flops import NetworkCost, network_cost
from model.network.zoo import NETWORKS

ROWS_OF_THE_PAPER = {
    "unet",
    *(f"resnet{depth}-single" for depth in (50, 101, 152)),
    *(f"resnet{depth}-50-{way}" for depth in (50, 101, 152) for way in ("multi-size", "add")),
    *(f"resnet{depth}-50-{way}" for depth in (50, 101) for way in ("concat", "attention")),
}
NOT_SCORED_IN_IT = {
    "resnet152-50-attention",
    "resnet50-50-aligned",
    "resnet50-50-centred",
    "resnet50-50-hooked",
    "resnet50-50-attention-light",
}


def test_every_row_of_the_tables_is_there_and_ours_are_marked() -> None:
    assert {name for name, network in NETWORKS.items() if network.paper_scores} == ROWS_OF_THE_PAPER
    assert NETWORKS.keys() - ROWS_OF_THE_PAPER == NOT_SCORED_IN_IT
    assert all(NETWORKS[name].note for name in NOT_SCORED_IN_IT)


@pytest.mark.parametrize("name", [name for name, network in NETWORKS.items() if network.paper_mb])
def test_sizes_are_those_of_table_1_or_the_note_says_why_not(name: str) -> None:
    network = NETWORKS[name]
    with torch.device("meta"):
        parameters = sum(p.numel() for p in build_network(network.config, 4).parameters())
    fits = parameters * 4e-6 == pytest.approx(network.paper_mb, rel=0.03)
    assert fits or (name == "unet" and "150 MB" in network.note)


@pytest.mark.parametrize("name", NETWORKS)
def test_a_name_says_what_the_network_is(name: str) -> None:
    config = NETWORKS[name].config
    if config.architecture == "unet":
        assert name == "unet"
        return
    way = config.fusion if config.second_input == "dual" else config.second_input
    if NETWORKS[name].context == "centred":
        way = {"aligned": "centred", "hooked": "hooked"}[way]
    context = "" if way == "single" else f"-{config.context_depth}"
    decoder = "" if config.decoder == "paper" else f"-{config.decoder}"
    assert name == f"resnet{config.encoder_depth}{context}-{way}{decoder}"


def test_names_can_be_read_without_torch() -> None:
    code = "import sys, model.network.zoo; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def cost_of(**changes: object) -> NetworkCost:
    config = {"encoder_depth": 18, "context_depth": 18, "encoder_width": 16, "decoder_width": 32, **changes}
    return network_cost(NetworkConfig(**config), side_px=64)  # type: ignore[arg-type]


def test_knowing_the_place_costs_a_slice_next_to_nothing() -> None:
    dual, aligned = cost_of(), cost_of(second_input="aligned")
    assert dual.context_gflop is not None
    assert aligned.context_gflop is not None
    assert 1 <= aligned.slice_gflop / dual.slice_gflop < 1.05
    assert 1 < aligned.context_gflop / dual.context_gflop < 1.05
    assert aligned.parameters - dual.parameters == 3 * 32**2 + 64**2


def test_a_light_decoder_takes_less_than_a_quarter_of_the_arithmetic() -> None:
    paper, light = (network_cost(NETWORKS[f"resnet50-50-attention{kind}"].config) for kind in ("", "-light"))
    assert light.slice_gflop < paper.slice_gflop / 4
    assert light.parameters < 0.51 * paper.parameters


def test_only_a_patch_that_is_seen_has_a_cost_of_its_own() -> None:
    single, multi_size, dual = (cost_of(second_input=way) for way in ("single", "multi-size", "dual"))
    assert single.context_gflop is None
    assert multi_size.context_gflop is None
    assert dual.context_gflop is not None
    # Half the side, a quarter of the work, done again for every slice.
    assert multi_size.slice_gflop - dual.slice_gflop == pytest.approx(dual.context_gflop / 4, rel=0.02)


def test_gflop_are_those_of_the_convolutions() -> None:
    config = NetworkConfig(architecture="unet", encoder_width=8, second_input="single")
    macs = 0.0
    for k in range(5):
        width, pixels, entry = 8 * 2**k, (64 / 2**k) ** 2, 3 if k == 0 else 4 * 2**k
        macs += 9 * pixels * width * (entry + width)
        if k < 4:
            macs += 9 * pixels * width * 3 * width + pixels * 2 * width * width
    macs += 64**2 * 8 * 4
    assert network_cost(config, side_px=64).slice_gflop == pytest.approx(2 * macs / 1e9)
