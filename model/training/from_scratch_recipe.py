"""Training recipe without an ImageNet start, as for the demo weights, and the card of phantom models."""

import math

from wsi.grid import InputGeometry
from wsi.phantom import PHANTOM_PALETTE

from ..card import UNWRITTEN, ModelCard, NetworkConfig, Normalisation
from ..data.batch import BatchSpec
from .config import Stage, TrainConfig

PHANTOM_INPUT = InputGeometry(mpp=0.934, context_ratio=20, slices_per_side=5, halo_px=64)
"""Slices at the paper's scale; the context at a quarter of the paper's resolution, 18.7 um/px. What tells a
phantom's classes apart is plain at both, and a sixteenth of the pixels lets a laptop see many more patches in
the same time."""

PHANTOM_COLOURS = Normalisation(mean=(0.78, 0.60, 0.74), std=(0.18, 0.22, 0.16))
"""Colours of phantom slides, roughly: exact values do not matter to a network with batch norm."""

CONTEXT_ALONE = 0.6
"""Share of the steps, at the start, that train the context encoder alone: they are cheap, and the rest builds
on what it learns. Its loss falls in leaps, so too few of these steps are wasted."""

CONTEXT_STEP_COST = 0.4
"""Assumed time of a step of the context encoder alone over that of one on slices, reading included."""

ZOOMS = (0.25, 0.5)
"""Zooms at which a network without a context learns first. A slice of 192 px at full scale shows a structure
or none, and from nothing a network learns no more from it than that all classes are as likely."""

CONTEXT_RATE = 2e-3
"""Peak learning rate of a training that starts on contexts."""

SLICE_RATE = 1e-3
"""Peak learning rate of a training that starts on slices; at twice that it ends at chance."""

LARGE_SLICES = 0.08
"""Share of the steps, at the end, on larger slices: nearer the inference window of 640 px, at less cost."""

SMALL = NetworkConfig(encoder_depth=18, encoder_width=16, context_depth=18, decoder_width=32)
"""The demo network: 2.4 M parameters."""


def phantom_card(name: str, network: NetworkConfig, geometry: InputGeometry) -> ModelCard:
    """Return the draft of the card; it says plainly what the model is for."""
    return ModelCard(
        name=name,
        version="1",
        title="DA-RefineNet for phantom slides",
        description=(
            "A phantom model for trying the software, not for tissue: trained on synthetic slides made by "
            "`darefine phantom`, it knows nothing of real ones."
        ),
        intended_use=(
            "Demonstrations, tests and benchmarks of this software on phantom slides. No use on tissue."
        ),
        phantom=True,
        classes=PHANTOM_PALETTE.classes,
        input=geometry,
        normalisation=PHANTOM_COLOURS,
        network=network,
        weights=UNWRITTEN,
    )


def from_scratch_recipe(card: ModelCard, *, steps: int, seed: int) -> TrainConfig:
    """Return the settings that train the network of a draft card in `steps` steps, without an ImageNet start.

    They were found on phantom slides. A network that sees no patch has nothing to learn in the first stage
    and spends that time on slices zoomed out, in fewer steps (CONTEXT_STEP_COST).
    """
    sees_patch = card.network.sees_patch
    context, large = round(steps * CONTEXT_ALONE), math.ceil(steps * LARGE_SLICES)
    first = (context_stage(context),) if sees_patch else zoomed_stages(round(context * CONTEXT_STEP_COST))
    # Without strong stain jitter the network learns the slides by their colours and knows nothing of others.
    return TrainConfig(
        card=card,
        stages=(*first, *slice_stages(max(0, steps - context - large), large)),
        recalibration=Stage(40, BatchSpec(slice_px=640, patches=2, slices=1)),
        optimizer="adamw",
        learning_rate=CONTEXT_RATE if sees_patch else SLICE_RATE,
        warm_up=0.03,
        weight_decay=0.01,
        clip_norm=1.0,
        stain_jitter=0.25,
        validate_every=0,
        seed=seed,
    )


def context_stage(steps: int) -> Stage:
    """Return the stage that trains the context encoder alone."""
    return Stage(steps, BatchSpec(slice_px=192, patches=32, slices=0), context_loss=1.0)


def zoomed_stages(steps: int) -> tuple[Stage, ...]:
    """Return stages on slices that show more at less detail, one for each of ZOOMS, `steps` in all."""
    each = -(-steps // len(ZOOMS))
    counts = (each, steps - each)
    return tuple(
        Stage(count, BatchSpec(slice_px=192, patches=16, slices=1, scales=(zoom, zoom)))
        for count, zoom in zip(counts, ZOOMS, strict=True)
    )


def slice_stages(steps: int, large: int) -> tuple[Stage, Stage]:
    """Return the stages on slices at full scale: `steps` on many small ones, then `large` on larger ones.

    Slices of one patch look alike, so many patches with one slice each teach more than few with many.
    """
    return (
        Stage(steps, BatchSpec(slice_px=192, patches=16, slices=1), context_loss=0.5),
        Stage(large, BatchSpec(slice_px=384, patches=8, slices=1), context_loss=0.5),
    )
