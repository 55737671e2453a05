"""Time what surrounds the network on a CPU, normalisation and argmax of a slice, as it is now and as it was.

`python -m benchmarks.decisions.around_the_network`; a few seconds. One thread, the seconds of its core alone.
"""

import time
from collections.abc import Callable
from statistics import median

import click
import torch
from torch import Tensor

from model.card import Normalisation
from model.evaluation.report import markdown
from model.inference.argmax import centre_logits, largest_labels
from model.inference.cpu_tuning import tune_malloc
from model.inference.preprocess import Normaliser
from workers.bench.measure import machine

from .fastest import rounds_ms, times_faster

WINDOW_PX, HALO_PX, SLICES = 544, 16, 4
"""Those of a pass of the demo network."""
CLASSES = 4
NORMALISATION = Normalisation((0.5, 0.4, 0.6), (0.2, 0.21, 0.23))

Way = Callable[[Tensor], Tensor]


def by_channels(images: Tensor) -> Tensor:
    """Normalise over the axis of channels, which is the innermost in memory."""
    mean, std = (torch.tensor(own).view(1, 3, 1, 1) for own in (NORMALISATION.mean, NORMALISATION.std))
    normalised = torch.addcmul(-mean / std, images.float(), 1 / (255 * std))
    return normalised.contiguous(memory_format=torch.channels_last)


def by_masked_writes(logits: Tensor) -> Tensor:
    """Return class values of logits, indices written where a mask says so."""
    labels = []
    for planes in logits:
        largest, indices = planes[0], torch.zeros(planes.shape[1:], dtype=torch.uint8)
        for index, plane in enumerate(planes[1:], start=1):
            indices.masked_fill_(plane > largest, index)
            largest = torch.maximum(largest, plane)
        labels.append(indices)
    return torch.stack(labels).add_(1)


@click.command()
@click.option("--rounds", type=click.IntRange(min=1), default=15, show_default=True)
@torch.inference_mode()
def main(rounds: int) -> None:
    """Print the median core time of a slice before and now, and whether all bits are the same."""
    tune_malloc()
    torch.set_num_threads(1)
    pixels = torch.randint(0, 256, (SLICES, WINDOW_PX, WINDOW_PX, 3), dtype=torch.uint8).permute(0, 3, 1, 2)
    small = torch.randn(SLICES, CLASSES, WINDOW_PX // 4, WINDOW_PX // 4)
    logits = centre_logits(small, WINDOW_PX, HALO_PX)
    table = [
        ["what", "core ms a slice before", "now", "times faster", "range", "same bits"],
        compared("normalisation", by_channels, Normaliser(NORMALISATION, pixels.device), pixels, rounds),
        compared("argmax", by_masked_writes, largest_labels, logits, rounds),
    ]
    click.echo(f"{markdown(table)}\n\n{torch.get_num_threads()} threads, {machine()}")


def compared(what: str, before: Way, now: Way, taken: Tensor, rounds: int) -> list[str]:
    """Return a row; both take turns."""
    times = rounds_ms({"before": lambda: before(taken), "now": lambda: now(taken)}, rounds, time.process_time)
    return [
        what,
        *(f"{median(each) / SLICES:.2f}" for each in times.values()),
        *times_faster(times["before"], times["now"]),
        "yes" if torch.equal(before(taken), now(taken)) else "no",
    ]


if __name__ == "__main__":
    main()
