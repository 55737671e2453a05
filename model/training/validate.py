"""The looks that training takes at held-out slides."""

from collections.abc import Sequence

from ..card import ModelCard
from ..data.annotated_slide import AnnotatedSlide
from ..data.index import PlannedSlice
from ..evaluation.evaluate import Evaluation, evaluate_patches
from ..evaluation.examples import Example, Examples
from ..evaluation.metrics import Metrics
from ..evaluation.regions import all_patches
from ..inference.segmenter import Segmenter
from ..network.base import SegmentationNetwork

EXAMPLES = 3
"""Places kept for pictures at each look."""


class Validator:
    """Networks of one card on the same places of the same slides: planned slices where there are some, else patches."""

    def __init__(
        self,
        card: ModelCard,
        slides: Sequence[AnnotatedSlide],
        planned: Sequence[PlannedSlice],
        *,
        device: str,
        patches_per_slide: int | None = None,
    ) -> None:
        self._card, self._slides, self._device = card, slides, device
        self._patches = all_patches(slides, planned, len(card.classes), patches_per_slide=patches_per_slide)

    def scores(self, network: SegmentationNetwork, examples: Examples | None = None) -> Evaluation:
        """Counts of a network as inference runs it, in float32."""
        segmenter = Segmenter(network, self._card, device=self._device, precision="fp32")
        seen = None if examples is None else examples.catch(self._card.name)
        return evaluate_patches(segmenter, self._slides, self._patches, seen=seen)

    def look(self, network: SegmentationNetwork) -> tuple[Metrics, tuple[Example, ...]]:
        """Scores, and a few places with what the network makes of them."""
        examples = Examples.choose(self._slides, self._patches, EXAMPLES)
        return self.scores(network, examples).total.all.metrics(), examples.all
