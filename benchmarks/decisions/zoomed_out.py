"""Compare starts of a network that sees slices alone: at full scale, or zoomed out first.

`python -m benchmarks.decisions.zoomed_out --work WORK`; about 20 minutes on two cores. WORK may be that
of the study, whose slides it uses; its weights go elsewhere.
"""

import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import click

from benchmarks.study.plan import Plan, prepare
from benchmarks.study.rows import SIZES
from model.evaluation.report import markdown
from model.training.config import TrainConfig
from model.training.from_scratch_recipe import (
    CONTEXT_RATE,
    PHANTOM_INPUT,
    SLICE_RATE,
    from_scratch_recipe,
    phantom_card,
    slice_stages,
)
from model.training.trainer import TrainProgress, train
from workers.bench.measure import machine

SHOWN = 40
"""Steps whose mean loss is shown."""


def starts(steps: int, seed: int) -> Mapping[str, TrainConfig]:
    """Return trainings by name that take about the same time."""
    network = replace(SIZES["small"].base, second_input="single", fusion="add")
    recipe = from_scratch_recipe(phantom_card("trial", network, PHANTOM_INPUT), steps=steps, seed=seed)
    zoomed, (slices, large) = recipe.stages[:-2], recipe.stages[-2:]
    full = slice_stages(slices.steps + sum(stage.steps for stage in zoomed), large.steps)
    at_full_scale = replace(recipe, stages=full)
    return {
        f"full scale, rate {CONTEXT_RATE:g}": replace(at_full_scale, learning_rate=CONTEXT_RATE),
        f"full scale, rate {SLICE_RATE:g}": at_full_scale,
        f"zoomed out first, rate {SLICE_RATE:g}": recipe,
    }


@click.command()
@click.option("--work", type=click.Path(path_type=Path), required=True, help="Folder for slides, 2 GB.")
@click.option("--steps", type=click.IntRange(min=1), default=1280, show_default=True)
@click.option("--seed", type=int, default=1, show_default=True)
def main(work: Path, steps: int, seed: int) -> None:
    """Print the losses of the last steps on small slices, and the scores on unseen slides."""
    index, _ = prepare(Plan(), work, lambda _name, _done: None)
    index = replace(index, cohort=replace(index.cohort, test=()), test=())
    table = [["start", "steps", f"loss of the last {SHOWN} on small slices", "MIoU", "accuracy"]]
    for name, config in starts(steps, seed).items():
        losses: list[float] = []

        def listen(now: TrainProgress, losses: list[float] = losses) -> None:
            losses.append(now.loss)

        with tempfile.TemporaryDirectory(dir=work) as out:
            card = train(config, index, Path(out), progress=listen)
        assert card is not None, "one process trains"
        small = losses[: -config.stages[-1].steps][-SHOWN:]
        scores = (f"{card.metrics[key]:.3f}" for key in ("miou", "accuracy"))
        table.append([name, str(config.steps), f"{sum(small) / len(small):.3f}", *scores])
    click.echo(markdown(table))
    click.echo(f"\n{steps} steps of a network with context. {machine()}")


if __name__ == "__main__":
    main()
