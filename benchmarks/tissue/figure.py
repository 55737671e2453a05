"""Draw docs/tissue.png: test images beside their truth and what a model labels there.

    python -m benchmarks.tissue.figure --data INDEX.json --model CARD.json --out docs/tissue.png

For each class but the first, the image of the test set in whose truth it is the most frequent of those and
whose share of right pixels is the median, and the one at the lower quartile: neither the best nor the worst.
"""

import argparse
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from model.data.annotated_slide import AnnotatedSlide
from model.data.index import SlideIndex
from model.evaluation.evaluate import open_slides
from model.evaluation.figures import Row, palette_of, save_figure
from model.evaluation.regions import EvalPatch, planned_patches
from model.inference.segmenter import Segmenter
from wsi.geometry import Rect

PANEL_INCH = 1.1
QUANTILES = {"median": 0.5, "quartile": 0.25}
STRIP_PX = 20
CREDIT = (
    "Images and truth: EBHI-SEG, Shi L. et al. 2023, doi:10.3389/fmed.2023.1114673, CC BY 4.0; resampled, "
    "masks merged to four classes."
)


@dataclass(frozen=True, slots=True)
class Labelled:
    """An image of the test set with its truth (H, W) and the labels of a model."""

    pixels: NDArray[np.uint8]
    truth: NDArray[np.uint8]
    labels: NDArray[np.uint8]

    @property
    def right(self) -> float:
        """Share of right pixels among those with truth."""
        return float((self.labels == self.truth)[self.truth > 0].mean())

    def shown_class(self, classes: int) -> int:
        """Value of the most frequent class but the first."""
        return 2 + int(np.bincount(self.truth.ravel(), minlength=classes + 1)[2:].argmax())


def main() -> None:
    """Draw the figure from the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    for name in ("data", "model", "out"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    options = parser.parse_args()
    index, segmenter = SlideIndex.load(options.data), Segmenter.load(options.model)
    with open_slides(segmenter.card, index.cohort.test) as slides:
        patches = planned_patches(slides, index.test, len(index.classes))
        images = [_labelled(segmenter, slides[patch.slide], patch) for patch in patches]
    titles, chosen = [], []
    for entry in index.classes[1:]:
        own = [image for image in images if image.shown_class(len(index.classes)) == entry.value]
        own.sort(key=lambda image: image.right)
        for name, quantile in QUANTILES.items():
            chosen.append(own[int(quantile * (len(own) - 1))])
            titles.append(f"{name}, {100 * chosen[-1].right:.0f} %")
    colours = palette_of(index.classes).lookup()
    rows = [
        Row("image", tuple(one.pixels for one in chosen)),
        Row("truth", tuple(colours[one.truth] for one in chosen)),
        Row("prediction", tuple(colours[one.labels] for one in chosen)),
    ]
    save_figure(rows, titles, index.classes, options.out, panel_inch=PANEL_INCH)
    _attribute(options.out)


def _labelled(segmenter: Segmenter, slide: AnnotatedSlide, patch: EvalPatch) -> Labelled:
    """Label an image that lies in one slice."""
    whole, read = Rect.of(slide.grid.label_size), slide.read_patch(patch.view)
    (labels,) = segmenter.label_patch(read.region, patch.view, context=read.context)
    return Labelled(slide.read_pixels(whole), slide.read_truth(whole), labels[: whole.height, : whole.width])


def _attribute(path: Path) -> None:
    """Write the source of the images below the figure, and store it in few colours: it is a thumbnail."""
    picture = Image.open(path).convert("RGB")
    framed = Image.new("RGB", (picture.width, picture.height + STRIP_PX), "white")
    framed.paste(picture)
    ImageDraw.Draw(framed).text(
        (8, picture.height), CREDIT, fill="black", font=ImageFont.load_default(size=12)
    )
    framed.quantize(192).save(path, optimize=True)


if __name__ == "__main__":
    main()
