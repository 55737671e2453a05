"""Benchmark of a training step on batches in memory: the bound for any way of reading slides.

`python -m benchmarks.steps --network resnet50-50-attention --batch 12 --device cuda --precision bf16`
"""

import statistics
import time
from collections.abc import Callable

import click
import torch

from model.inference.cpu_tuning import tune_malloc
from model.inference.device import PRECISIONS, choose_device
from model.network.build import build_network
from model.network.flops import network_cost
from model.network.init import initialise
from model.network.zoo import NETWORKS
from model.training.loss import TrainingModule, make_optimizer
from model.training.paper_recipe import paper_recipe
from workers.bench.measure import machine

from .cards import card_of

PAPER_SLICES = 3000
SLICE_PX = 512
CONTEXT_PX = 544
"""Side of the context of a patch of 2560 label px with a halo of 64, at a context ratio of 5."""


@click.command()
@click.option(
    "--network", type=click.Choice(list(NETWORKS)), default="resnet50-50-attention", show_default=True
)
@click.option("--batch", type=click.IntRange(min=1), default=12, show_default=True, help="Slices a step.")
@click.option("--repeats", type=click.IntRange(min=1), default=5, show_default=True)
@click.option("--device", default="auto", show_default=True)
@click.option("--precision", type=click.Choice(list(PRECISIONS)), default="fp32", show_default=True)
def main(network: str, batch: int, repeats: int, device: str, precision: str) -> None:
    """Time steps and print what the paper's training would take at that pace."""
    tune_malloc()
    chosen = choose_device(device)
    step = training_step(network, batch, chosen, PRECISIONS[precision])
    step()
    seconds = statistics.median(step() for _ in range(repeats))
    cost = network_cost(NETWORKS[network].config, side_px=SLICE_PX)
    # The backward pass does about twice the arithmetic of the forward pass.
    teraflop = 3 * batch * (cost.slice_gflop + (cost.context_gflop or 0)) / 1e3
    hours = paper_recipe(card_of(network), slices=PAPER_SLICES, imagenet=True).steps * seconds / 3600
    click.echo(f"{network}, {batch} slices a step, {precision}, {machine(str(chosen))}")
    click.echo(f"{seconds:.2f} s a step; about {teraflop:.2f} TFLOP, {teraflop / seconds:.2f} TFLOP/s")
    click.echo(f"the paper's {PAPER_SLICES} slices and 75 epochs: {hours * 12 / batch:.1f} h at this pace")


def training_step(network: str, batch: int, device: torch.device, dtype: torch.dtype) -> Callable[[], float]:
    """Make a step of the paper's recipe, one slice a patch, on noise; calling it returns its seconds."""
    config = paper_recipe(card_of(network), slices=PAPER_SLICES, imagenet=True)
    built = build_network(config.card.network, len(config.card.classes), dropout=config.dropout)
    initialise(built, config.seed)
    module = TrainingModule(built, config).to(device)
    module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # not in the stubs
    optimizer = make_optimizer(module.train(), config)
    slices, context = (
        torch.randn(batch, 3, side, side, device=device).to(memory_format=torch.channels_last)
        for side in (SLICE_PX, CONTEXT_PX)
    )
    labels = torch.randint(1, 5, (batch, SLICE_PX, SLICE_PX), device=device, dtype=torch.uint8)
    boxes = torch.tensor([[0.4, 0.4, 0.6, 0.6]], device=device).repeat(batch, 1)

    def step() -> float:
        start = time.perf_counter()
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast(device.type, dtype, enabled=dtype != torch.float32):
            loss = module(slices, labels, context, labels, boxes, 0.0)
        loss.backward()
        optimizer.step()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        return time.perf_counter() - start

    return step


if __name__ == "__main__":
    main()
