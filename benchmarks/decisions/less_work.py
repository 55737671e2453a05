"""Time passes of networks with less work in the decoder: pooling by maxima, a last block without its margin.

`python -m benchmarks.decisions.less_work`; about four minutes. One thread, and the seconds of its core alone:
other work on the machine does not count.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median
from unittest import mock

import click
import torch
from torch import Tensor

from model.card import NetworkConfig
from model.evaluation.report import markdown
from model.inference.cpu_tuning import tune_malloc
from model.inference.device import PRECISIONS, cpu_has_bf16
from model.network import pooling
from model.network.base import SegmentationNetwork
from model.network.build import build_network
from model.network.encoder import fold_batch_norms
from model.network.onednn import use_onednn
from model.network.zoo import NETWORKS
from workers.bench.measure import machine

from .fastest import rounds_ms, times_faster

Pass = Callable[[], Tensor]

WINDOW_PX, HALO_PX = 640, 64
MARGIN = HALO_PX // 4 - 1
"""Logits at each edge of a window that no kept label depends on."""

DEMO = NetworkConfig(
    encoder_depth=18, context_depth=18, encoder_width=16, decoder_width=32, second_input="aligned"
)
"""The demo's network; what it is worth does not matter here, so its weights are random."""


@dataclass(frozen=True, slots=True)
class Case:
    """A network and the slices of its passes, fewer where they take seconds."""

    name: str
    config: NetworkConfig
    slices: int


PAPERS = ("resnet50-50-attention", "resnet50-50-attention-light")
CASES = (Case("demo", DEMO, 4), *(Case(name, NETWORKS[name].config, 2) for name in PAPERS))

rounds_option = click.option("--rounds", type=click.IntRange(min=1), default=5, show_default=True)

network_option = click.option(
    "--network",
    "cases",
    type=click.Choice([case.name for case in CASES]),
    callback=lambda _context, _option, name: [case for case in CASES if name in {None, case.name}],
    help="  [default: all]",
)
"""Gives `cases`, the networks to measure."""


def native_precisions() -> list[str]:
    """Return the number formats that torch computes in without emulation on this CPU."""
    return ["fp32", *(["bf16"] if cpu_has_bf16() else [])]


@click.command()
@rounds_option
@click.option("--window", "window_px", type=click.IntRange(min=256), default=WINDOW_PX, show_default=True)
@network_option
def main(rounds: int, window_px: int, cases: list[Case]) -> None:
    """Print the median core time of a slice, and how much faster than before each way is, with its range."""
    tune_malloc()
    torch.set_num_threads(1)
    table = [["network", "precision", "way", "core ms a slice", "times faster", "range", "same bits"]]
    for case in cases:
        for precision in native_precisions():
            rows = compared(case, precision, window_px, rounds)
            table += [[case.name, precision, *row] for row in rows]
    click.echo(f"{markdown(table)}\n\n{torch.get_num_threads()} threads, {machine()}")


@torch.inference_mode()
def compared(case: Case, precision: str, window_px: int, rounds: int) -> list[list[str]]:
    """Return a row for each way, all of which take turns."""
    ways = ways_of(network_of(case, precision), case.slices, window_px)
    kept = slice(MARGIN, window_px // 4 - MARGIN)
    expected = ways["before"]()[:, :, kept, kept]
    times = rounds_ms(ways, rounds, time.process_time)
    rows = []
    for name, run in ways.items():
        found = run()
        found = found if found.shape == expected.shape else found[:, :, kept, kept]
        same = "yes" if torch.equal(found, expected) else "no"
        faster = times_faster(times["before"], times[name])
        rows.append([name, f"{median(times[name]) / case.slices:.1f}", *faster, same])
    return rows


def network_of(case: Case, precision: str, *, onednn: bool = True) -> SegmentationNetwork:
    """Return the network with random weights, as inference has it; or with torch's choice of convolutions."""
    torch.manual_seed(1)
    network = build_network(case.config, 4).eval()
    fold_batch_norms(network)
    if onednn:
        use_onednn(network)
    network.to(PRECISIONS[precision])
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # not in the stubs
    return network


def pass_of(case: Case, precision: str, *, onednn: bool = True) -> Pass:
    """Return a pass of random slices as it is now; see `network_of`."""
    network = network_of(case, precision, onednn=onednn)
    return ways_of(network, case.slices, WINDOW_PX)["both, as it is now"]


def ways_of(network: SegmentationNetwork, count: int, window_px: int) -> dict[str, Pass]:
    """Return passes of random slices in the ways that are compared."""
    dtype = network.classify.weight.dtype
    slices = torch.randn(count, 3, window_px, window_px, dtype=dtype)
    slices = slices.contiguous(memory_format=torch.channels_last)
    context = network.encode_context(slices[:1, :, :256, :256])
    boxes = torch.tensor([[0.4, 0.4, 0.6, 0.6]]).expand(count, -1)

    def run(margin: int, by_maxima: Callable[[Tensor], bool]) -> Tensor:
        with mock.patch.object(pooling, "maxima_are_faster", by_maxima):
            logits: Tensor = network(slices, context, boxes, margin)
        return logits

    usual = pooling.maxima_are_faster
    return {
        "before": lambda: run(0, lambda _: False),
        "pooling by maxima": lambda: run(0, lambda _: True),
        "last block without its margin": lambda: run(MARGIN, lambda _: False),
        "both, as it is now": lambda: run(MARGIN, usual),
    }


if __name__ == "__main__":
    main()
