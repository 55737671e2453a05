"""Pydantic models of the tile grids of slides and label maps."""

from typing import Literal

from pydantic import BaseModel, Field

from workers.jobs import Job, JobState
from wsi.grid import TILE_PX
from wsi.tiles.levels import level_count

from .schemas import SLIDE_ID, example
from .slides.store import StoredSlide
from .tiles.job_labels import JobLabels


class SlideTilesOut(BaseModel):
    """The grid of a slide's tiles."""

    model_config = example(
        {
            "width": 96_512,
            "height": 71_424,
            "tile_px": 512,
            "levels": 9,
            "mpp": 0.2525,
            "format": "jpeg",
            "version": "0f3c9f2a-1",
        }
    )
    width: int = Field(description="Of level 0, in pixels.")
    height: int
    tile_px: int
    levels: int = Field(
        description="Level 0 is full size, each next one half, rounded up; the last fits in a tile."
    )
    mpp: float | None = Field(description="Micrometres per pixel of level 0; null if the file does not say.")
    format: Literal["jpeg"]
    version: str = Field(description="Send it as ?v= with each tile; copies of such are kept for ever.")

    @classmethod
    def of(cls, slide: StoredSlide, version: str) -> "SlideTilesOut":
        """Return the JSON form of the tiles of a stored slide."""
        info = slide.info
        return cls(
            width=info.size.width,
            height=info.size.height,
            tile_px=TILE_PX,
            levels=level_count(info.size),
            mpp=info.mpp.value if info.mpp else None,
            format="jpeg",
            version=version,
        )


class ClassOut(BaseModel):
    """A class of a label map."""

    value: int
    name: str
    colour: tuple[int, int, int]


class LabelTilesOut(BaseModel):
    """The grid of a job's label tiles, and how far it is filled."""

    model_config = example(
        {
            "width": 24_128,
            "height": 17_856,
            "downsample": 4,
            "tile_px": 512,
            "levels": 7,
            "patch_px": 2560,
            "patch_columns": 10,
            "patch_rows": 7,
            "slide_id": SLIDE_ID,
            "model": "phantom-resnet18-centred",
            "classes": [{"value": 1, "name": "normal", "colour": [0, 0, 0]}],
            "state": "running",
            "finished": False,
            "version": "18c2f0a1b2c3d4e5-3",
            "patches": [11, 12, 13],
            "probabilities": False,
        }
    )
    width: int = Field(description="Of the label map, in label pixels.")
    height: int
    downsample: int = Field(description="Level-0 pixels of the slide along the side of a label pixel.")
    tile_px: int
    levels: int = Field(
        description="Level 0 is full size, each next one half, rounded up; the last fits in a tile."
    )
    patch_px: int = Field(description="Side of a patch, in label pixels.")
    patch_columns: int
    patch_rows: int
    slide_id: str
    model: str
    classes: list[ClassOut]
    state: JobState
    finished: bool = Field(description="Whether every tile is final.")
    version: str = Field(description="Changes whenever a patch is stored. Send it as ?v= with each tile.")
    patches: list[int] | None = Field(
        description="Indices, row by row, of the patches stored so far, oldest first; null when finished."
    )

    probabilities: bool = Field(
        description="Whether tiles of the labels' probabilities lie under `tiles/probabilities/`."
    )

    @classmethod
    def of(cls, job: Job, labels: JobLabels) -> "LabelTilesOut":
        """Return the JSON form of a job's label tiles."""
        coverage = labels.coverage(look=True)
        return cls(
            width=labels.size.width,
            height=labels.size.height,
            downsample=labels.downsample,
            tile_px=TILE_PX,
            levels=level_count(labels.size),
            patch_px=labels.patch_px,
            patch_columns=labels.patches.width,
            patch_rows=labels.patches.height,
            slide_id=job.request.slide_id,
            model=job.request.model,
            classes=[ClassOut.model_validate(label) for label in labels.classes],
            state=job.state,
            finished=coverage.is_finished,
            version=coverage.version,
            patches=None if coverage.is_finished else list(coverage.patches),
            probabilities="probabilities" in job.request.parameters.outputs,
        )
