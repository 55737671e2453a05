"""Training recipe for small images with truth, without an ImageNet start, and the cards that it writes."""

from ..card import UNWRITTEN, ModelCard, NetworkConfig, Normalisation
from ..data.batch import BatchSpec
from ..data.index import SlideIndex
from .config import Stage, TrainConfig

TISSUE = NetworkConfig(
    encoder_depth=18,
    encoder_width=32,
    context_depth=18,
    decoder_width=24,
    fusion="add",
    second_input="single",
)
"""3.3 M parameters, one input. Nothing in it is pooled over the slice, so that slices of another size than
in training, and white around an image, change nothing far away."""

H_AND_E_COLOURS = Normalisation(mean=(0.75, 0.58, 0.72), std=(0.20, 0.24, 0.18))
"""Colours of H&E, roughly: exact values do not matter to a network with batch norm."""

FROM_AFAR = 0.6
"""Share of the steps, at the start, on images reduced to about half: a step costs half, and most of what
tells the stages of a lesion apart is seen in a whole image better than in a part of it."""


SEES = {
    "single": "It has a single input, the slice.",
    "multi-size": "It sees the slice at two sizes.",
}
"""Sentence of a card on the network's input, by its second one."""


def images_card(name: str, network: NetworkConfig, index: SlideIndex) -> ModelCard:
    """Return the draft of the card of a network trained on a folder of images."""
    about = index.data_set
    tissue, remarks = ("", "") if about is None else (about.tissue, about.remarks)
    return ModelCard(
        name=name,
        version="1",
        title=f"{index.source}: {tissue}" if tissue else f"{name}, trained on {index.source}",
        description=" ".join(
            filter(
                None,
                (
                    f"Trained on images of {index.source} ({tissue or 'tissue not stated'}) alone.",
                    SEES.get(network.second_input, ""),
                    "Images without surroundings: single fields say nothing of context.",
                    remarks,
                ),
            )
        ),
        intended_use=(
            f"Research on {tissue or 'the tissue of its training images'} only. Not a medical device; not "
            "examined on whole slides, other tissue, other stains or other scanners."
        ),
        phantom=False,
        classes=index.classes,
        input=index.input,
        normalisation=H_AND_E_COLOURS,
        network=network,
        weights=UNWRITTEN,
    )


def images_recipe(card: ModelCard, *, steps: int, seed: int) -> TrainConfig:
    """Return the settings that train a network on small images in `steps` steps.

    Zoom up to 1.2 and down to 0.75 covers pixel sizes that are estimates. Every image is seen turned,
    mirrored and in another stain each time; the classes come equally often.
    """
    afar = round(steps * FROM_AFAR)
    return TrainConfig(
        card=card,
        stages=(
            Stage(afar, BatchSpec(slice_px=96, patches=24, slices=1, scales=(0.45, 0.75))),
            Stage(steps - afar, BatchSpec(slice_px=160, patches=16, slices=1, scales=(0.75, 1.2))),
        ),
        recalibration=Stage(40, BatchSpec(slice_px=160, patches=16, slices=1)),
        optimizer="adamw",
        learning_rate=2e-3,
        warm_up=0.04,
        weight_decay=0.05,
        clip_norm=1.0,
        stain_jitter=0.15,
        validate_every=max(1, steps // 4),
        validation_patches=None,
        checkpoint_every=50,
        seed=seed,
    )
