"""Measure what share of a pass each operator takes, and how near convolutions come to what a core can do.

`python -m benchmarks.decisions.operators`; about two minutes. One thread, and the seconds of its core alone:
other work on the machine does not count, but for the shared caches.
"""

import time
from statistics import median

import click
import torch
from torch import nn
from torch.profiler import ProfilerActivity, profile
from torch.utils.flop_counter import FlopCounterMode, conv_flop_count

from model.evaluation.report import markdown
from model.inference.cpu_tuning import tune_malloc
from model.inference.device import PRECISIONS
from workers.bench.measure import machine

from .fastest import rounds_ms
from .less_work import Case, Pass, native_precisions, network_option, pass_of, rounds_option

CONVOLUTION = "aten::mkldnn_convolution"
WIDTH, SIDE_PX = 256, 160
"""Channels and side of maps whose 3x3 convolution shows what a core can do: it waits for no memory."""
SHOWN = 6
"""Operators with a row of their own; the others share one."""


@click.command()
@rounds_option
@network_option
def main(rounds: int, cases: list[Case]) -> None:
    """Print core time and arithmetic of a slice, by operator, and the pace of a wide convolution."""
    tune_malloc()
    torch.set_num_threads(1)
    for precision in native_precisions():
        pace = convolution_gflops(precision, rounds)
        click.echo(f"\nA 3x3 convolution between {WIDTH} channels, {precision}: {pace:.0f} GFLOP/s\n")
        for case in cases:
            click.echo(f"{markdown(shares(case, precision, rounds))}\n")
    click.echo(f"{torch.get_num_threads()} threads, {machine()}")


@torch.inference_mode()
def convolution_gflops(precision: str, rounds: int) -> float:
    """Return 1e9 multiplications and additions a core second in a 3x3 convolution between 256 channels."""
    conv = nn.Conv2d(WIDTH, WIDTH, 3, padding=1).to(PRECISIONS[precision])
    conv.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # not in the stubs
    maps = torch.randn(2, WIDTH, SIDE_PX, SIDE_PX, dtype=PRECISIONS[precision])
    maps = maps.contiguous(memory_format=torch.channels_last)
    (times,) = rounds_ms({"": lambda: conv(maps)}, rounds, time.process_time).values()
    return float(2 * maps.numel() * 9 * WIDTH / 1e6 / median(times))


@torch.inference_mode()
def shares(case: Case, precision: str, rounds: int) -> list[list[str]]:
    """Return a table of operators: core ms a slice, share of the pass, and GFLOP/s of the convolutions."""
    run = pass_of(case, precision)
    gflop = _gflop(run) / case.slices
    (times,) = rounds_ms({"": run}, rounds, time.process_time).values()
    whole_ms = median(times) / case.slices
    with profile(activities=[ProfilerActivity.CPU]) as seen:
        run()
    taken = sorted(((event.self_cpu_time_total, event.key) for event in seen.key_averages()), reverse=True)
    total = sum(us for us, _ in taken)
    rows = [[f"{case.name}, {precision}", "core ms a slice", "share", "GFLOP/s"]]
    rows.append(["all", f"{whole_ms:.1f}", "100 %", f"{gflop / whole_ms * 1e3:.0f}"])
    for us, name in taken[:SHOWN]:
        own_ms = whole_ms * us / total
        pace = f"{gflop / own_ms * 1e3:.0f}" if name == CONVOLUTION else ""
        rows.append([name.removeprefix("aten::"), f"{own_ms:.1f}", f"{100 * us / total:.0f} %", pace])
    rest = sum(us for us, _ in taken[SHOWN:])
    return [*rows, ["others", f"{whole_ms * rest / total:.1f}", f"{100 * rest / total:.0f} %", ""]]


def _gflop(run: Pass) -> float:
    with FlopCounterMode(display=False, custom_mapping={torch.ops.aten.mkldnn_convolution: _flop}) as counter:
        run()
    return float(counter.get_total_flops() / 1e9)


def _flop(maps: list[int], weight: list[int], *_: object, out_shape: list[int], **__: object) -> int:
    """Count a convolution that torch's counter does not know."""
    return conv_flop_count(maps, weight, out_shape)


if __name__ == "__main__":
    main()
