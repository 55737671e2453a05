"""Measure what a slice of a phantom can tell at most: a classifier that is given structures, not pixels.

It gets the counts of every form of gland and nest in a slice, how they lie, and which landmarks show; a
network has to find all that in pixels first. `python -m benchmarks.decisions.phantom_cues`; some minutes.
"""

from collections.abc import Sequence

import click
import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from model.evaluation.report import markdown
from workers.bench.measure import machine
from wsi.geometry import Rect
from wsi.phantom import PHANTOM_PALETTE, PhantomSlide
from wsi.phantom.second import SecondDesign

CLASSES = len(PHANTOM_PALETTE.classes)
SLIDE_PX = 12_288
SLICE_PX = 1024
"""Side of a slice, l0 px: 512 px at 0.934 um/px."""

DRAWN = 200
"""Places tried on each slide; taken are those with one class on tissue."""

TRUTH_STEP = 16
PURE = 0.9
TRAIN_SEED, TEST_SEED = 1, 1001
CLOSE_UM = 150.0

LANDMARKS = slice(12, 16)
VARIANTS: dict[str, Sequence[int]] = {
    "forms": range(6),
    "arrangement and number": (0, 2, *range(6, 12)),
    "both": range(12),
    "both, and landmarks that show": range(16),
}

Table = tuple[NDArray[np.float64], NDArray[np.int64]]


@click.command()
@click.option("--train", "train_slides", type=click.IntRange(min=1), default=120, show_default=True)
@click.option("--test", "test_slides", type=click.IntRange(min=1), default=45, show_default=True)
@click.option("--steps", type=click.IntRange(min=1), default=1500, show_default=True)
def main(train_slides: int, test_slides: int, steps: int) -> None:
    """Print accuracies on slices of slides that the classifier was not trained on."""
    torch.manual_seed(0)
    train = _joined([slices_of(TRAIN_SEED + k) for k in range(train_slides)])
    test = _joined([slices_of(TEST_SEED + k) for k in range(test_slides)])
    table = [["what is known of a slice", "accuracy", "glands or nests"]]
    for name, columns in VARIANTS.items():
        hit, pair = accuracies(train, test, list(columns), steps)
        table.append([name, f"{hit:.3f}", f"{pair:.3f}"])
    shown = float((test[0][:, LANDMARKS].sum(axis=1) > 0).mean())
    click.echo(markdown(table))
    click.echo(f"\n{len(test[1])} slices; a landmark shows in {shown:.3f} of them. {machine()}")


def slices_of(seed: int) -> Table:
    """Return the features (n, 16) and classes 0..3 (n,) of slices of one slide, drawn at random."""
    phantom = PhantomSlide(SLIDE_PX, seed)
    rng = np.random.default_rng(seed)
    features, classes = [np.empty((0, LANDMARKS.stop))], []
    for x, y in rng.integers(0, SLIDE_PX - SLICE_PX, (DRAWN, 2)).tolist():
        region = Rect(x, y, SLICE_PX, SLICE_PX)
        side = SLICE_PX // TRUTH_STEP
        truth = phantom.truth(Rect(x // TRUTH_STEP, y // TRUTH_STEP, side, side), TRUTH_STEP)
        pixels = np.bincount(truth.ravel(), minlength=CLASSES + 1)
        if 2 * pixels[0] <= truth.size and pixels[1:].max() >= PURE * pixels[1:].sum():
            features.append(_features(phantom, region)[None])
            classes.append(int(pixels[1:].argmax()))
    return np.concatenate(features), np.array(classes, dtype=np.int64)


def _features(phantom: PhantomSlide, region: Rect) -> NDArray[np.float64]:
    design = phantom.design
    assert isinstance(design, SecondDesign)
    found, form = design.structures(region, 0)
    counts = np.bincount(form, minlength=4)
    cells = np.histogram2d(found.x - region.x, found.y - region.y, bins=4, range=[[0, SLICE_PX]] * 2)[0]
    apart = np.hypot(found.x[:, None] - found.x, found.y[:, None] - found.y) * phantom.mpp
    np.fill_diagonal(apart, np.inf)
    nearest = apart.min(axis=1) if len(form) > 1 else np.array([3 * CLOSE_UM])
    marks, kind = phantom.landmarks(region)
    seen = (marks.x > region.x) & (marks.x < region.right) & (marks.y > region.y) & (marks.y < region.bottom)
    shares = counts[[1, 3]] / np.maximum(1, (counts[[0, 2]] + counts[[1, 3]]))
    lie = [
        len(form),
        nearest.mean(),
        nearest.std(),
        (apart < CLOSE_UM).sum(),
        cells.var(),
        (cells == 0).sum(),
    ]
    landmarks = np.bincount(kind[seen], minlength=CLASSES + 1)[1 : CLASSES + 1]
    return np.concatenate((counts, shares, lie, landmarks))


def _joined(tables: Sequence[Table]) -> Table:
    return np.concatenate([features for features, _ in tables]), np.concatenate([own for _, own in tables])


def accuracies(train: Table, test: Table, columns: list[int], steps: int) -> tuple[float, float]:
    """Train a small network on some features; return how many test slices get the right class, and pair."""
    mean, spread = train[0][:, columns].mean(axis=0), train[0][:, columns].std(axis=0) + 1e-6

    def scaled(table: Table) -> torch.Tensor:
        return torch.tensor((table[0][:, columns] - mean) / spread, dtype=torch.float32)

    network = nn.Sequential(nn.Linear(len(columns), 48), nn.ReLU(), nn.Linear(48, CLASSES))
    optimizer = torch.optim.AdamW(network.parameters(), 3e-3, weight_decay=0.01)
    features, classes = scaled(train), torch.tensor(train[1])
    for _ in range(steps):
        drawn = torch.randint(len(classes), (512,))
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(network(features[drawn]), classes[drawn])
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    with torch.no_grad():
        guess = network(scaled(test)).argmax(dim=1).numpy()
    return float((guess == test[1]).mean()), float((guess // 2 == test[1] // 2).mean())


if __name__ == "__main__":
    main()
