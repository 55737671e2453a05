"""Validation during training: score a network on held-out slides and keep a few examples."""

from collections.abc import Sequence

from ..card import ModelCard
from ..data.annotated_slide import AnnotatedSlide
from ..data.index import PlannedSlice
from ..evaluation.calibration import LogitSample, sample_logits
from ..evaluation.evaluate import Evaluation, evaluate_patches
from ..evaluation.examples import Example, Examples
from ..evaluation.metrics import Metrics
from ..evaluation.regions import all_patches, balanced_patches
from ..inference.segmenter import Segmenter
from ..network.base import SegmentationNetwork

EXAMPLES = 3
"""Examples kept for pictures at each validation."""


class Validator:
    """Scores networks of one card, always on the same patches of the same slides."""

    def __init__(
        self,
        card: ModelCard,
        slides: Sequence[AnnotatedSlide],
        planned: Sequence[PlannedSlice],
        *,
        device: str,
        patches_per_slide: int | None = None,
    ) -> None:
        """Choose the patches: planned slices where there are some, else all with truth.

        With `patches_per_slide` at most so many times the number of slides, balanced over the classes.
        """
        self._card, self._slides, self._device = card, slides, device
        self._patches = all_patches(slides, planned, len(card.classes))
        if patches_per_slide is not None:
            self._patches = balanced_patches(self._patches, patches_per_slide * len(slides))

    def evaluate(self, network: SegmentationNetwork, examples: Examples | None = None) -> Evaluation:
        """Count how a network labels the patches, run as inference runs it, in float32."""
        segmenter = Segmenter(network, self._card, device=self._device, precision="fp32")
        seen = None if examples is None else examples.catch(self._card.name)
        return evaluate_patches(segmenter, self._slides, self._patches, seen=seen)

    def sample(self, network: SegmentationNetwork) -> LogitSample:
        """Sample a network's logits on the patches, for its calibration."""
        segmenter = Segmenter(network, self._card, device=self._device, precision="fp32")
        return sample_logits(segmenter, self._slides, self._patches)

    def validate(self, network: SegmentationNetwork) -> tuple[Metrics, tuple[Example, ...]]:
        """Return the scores of a network, and a few examples with its labels."""
        examples = Examples.choose(self._slides, self._patches, EXAMPLES)
        return self.evaluate(network, examples).total.all.metrics(), examples.all
