"""Training recipe of the paper: three stages of SGD from ImageNet encoders.

Source: section IV and the authors' released hyper-parameters.
"""

import math

from ..card import UNWRITTEN, ModelCard, NetworkConfig
from ..data.batch import BatchSpec
from ..data.index import SlideIndex
from ..network.imagenet import IMAGENET_COLOURS
from .config import Stage, TrainConfig

BATCH = 12
"""Slices a step."""

EPOCHS_PER_STAGE = 25

LEARNING_RATES = (5e-3, 2.5e-3, 1e-3)
"""Learning rate of the decoder in each stage."""

ENCODER_FACTOR = 0.1
"""Learning rate of the encoders over the decoder's: 5e-4, 2.5e-4 and 1e-4."""


def paper_card(name: str, network: NetworkConfig, index: SlideIndex) -> ModelCard:
    """Return the draft of the card of a network trained on an index."""
    return ModelCard(
        name=name,
        version="1",
        title=f"{name}, trained on {index.source}",
        description=(
            f"Trained with `darefine train` on the slides named under training.cohort ({index.source})."
        ),
        intended_use="Research. Not a medical device; not examined on other slides than those named.",
        phantom=index.source == "phantom",
        classes=index.classes,
        input=index.input,
        normalisation=IMAGENET_COLOURS,
        network=network,
        weights=UNWRITTEN,
    )


def paper_recipe(
    card: ModelCard,
    *,
    slices: int,
    imagenet: bool,
    batch: int = BATCH,
    epochs: int = EPOCHS_PER_STAGE,
    seed: int = 1,
) -> TrainConfig:
    """Return the paper's settings for `slices` training slices.

    One slice a patch: slices are drawn from all patches alike, as the paper's loader does. The zoom of 0.5..1
    shows slice and context farther away at the same size, instead of padding a shrunken slice. Quarter turns
    come with the flips; stain jitter is ours and slight.

    `slices` make an epoch, `epochs` are those of each of the three stages. With `imagenet` the batch norms of
    the encoders stay as they are; without that start they must learn their own.
    """
    steps = epochs * math.ceil(slices / batch)
    return TrainConfig(
        card=card,
        stages=tuple(
            Stage(
                steps, BatchSpec(slice_px=512, patches=batch, slices=1, scales=(0.5, 1.0)), learning_rate=rate
            )
            for rate in LEARNING_RATES
        ),
        recalibration=None,
        optimizer="sgd",
        momentum=0.9,
        weight_decay=1e-5,
        encoder_factor=ENCODER_FACTOR if imagenet else 1.0,
        frozen_batch_norm=imagenet,
        clip_norm=None,
        dropout=0.5,
        validate_every=math.ceil(slices / batch),
        validation_patches=None,
        checkpoint_every=math.ceil(slices / batch),
        seed=seed,
    )
