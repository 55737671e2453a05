"""Schema of a result document, `result.json`, as the engine writes it.

Documents are served as they were written. Members that earlier versions did not write are optional here;
what is not named here may be there all the same.
"""

from datetime import datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from wsi.geometry import WindowSpan

from .parameter_schemas import JobParametersOut, RegionsFacts
from .schemas import WarningOut, example


class _Part(BaseModel):
    model_config = ConfigDict(extra="allow", frozen=True)


class FileFacts(_Part):
    """A result file."""

    bytes: int
    sha256: str


class ClassArea(_Part):
    """A class and how much of it was found."""

    value: int = Field(description="In the label map.")
    name: str
    colour: tuple[int, int, int]
    pixels: int = Field(description="Of the label map.")
    area_mm2: float
    fraction: float = Field(description="Of the labelled tissue.")


class TissueFacts(_Part):
    """What was labelled, glass left out."""

    area_mm2: float
    searched_mm2: float | None = Field(
        None, description="Where tissue was looked for: what was scanned, within the job's regions."
    )
    fraction: float | None = Field(None, description="Of `searched_mm2`: the share of tissue.")
    fraction_of_slide: float
    megapixels: float = Field(description="Level-0 megapixels under labelled pixels.")


class RunRef(_Part):
    """The job, and the attempt that finished it."""

    id: str
    attempt: int


class Bounds(_Part):
    """The scanned part of a slide, level-0 pixels. Coordinates elsewhere do not depend on it."""

    x: int
    y: int
    width: int
    height: int


class SlideFacts(_Part):
    """The slide."""

    name: str
    sha256: str | None = Field(
        None, description="Of the file as uploaded; null for a slide registered in place."
    )
    vendor: str
    width: int = Field(description="Level-0 pixels.")
    height: int
    bounds: Bounds | None = None
    megapixels: float | None = None


class ModelFacts(_Part):
    """The model."""

    name: str
    version: str
    sha256: str = Field(description="Of its weights.")


class MppFacts(_Part):
    """Pixel sizes, um/px."""

    slide: float = Field(description="Of level 0.")
    source: str | None = Field(description="request, vendor, ome-xml, tiff-resolution or objective-power.")
    label: float
    downsample: int = Field(description="Level-0 pixels along the side of a label pixel.")
    resampled: bool = Field(description="Whether the network read pixels brought to its own scale.")


class ResolvedParameters(_Part):
    """Parameters as they were used, with nothing left to a default."""

    mpp: float
    mpp_source: str | None
    halo_px: int
    window: WindowSpan = Field("slice", description="What the network labelled at once.")
    precision: str
    tissue: bool
    tissue_rules: int | None = Field(None, description="Version of what counts as tissue, if that mattered.")
    tissue_outlines: RegionsFacts | None = Field(None, description="A tissue mask that came with the job.")
    regions: RegionsFacts | None = Field(None, description="Where the job looked.")
    outputs: list[str]
    context: str
    patch_px: int


class BelowFacts(_Part):
    """Share of the pixels whose probability is lower."""

    probability: float
    fraction: float


class ClassConfidence(_Part):
    """Confidence in the pixels of one class."""

    value: int
    name: str
    mean: float | None = Field(description="Null for a class without pixels; so is `below`.")
    below: list[BelowFacts] | None


class ConfidenceFacts(_Part):
    """Probabilities of the labels, as the network gives them to the class that it chose."""

    calibrated: bool = Field(description="Whether the card has a temperature fitted on held-out slides.")
    temperature: float
    mean: float | None = Field(description="Null where nothing was labelled; so is `below`.")
    below: list[BelowFacts] | None
    classes: list[ClassConfidence]


class LabelMapFacts(_Part):
    """Size of the label map."""

    width: int
    height: int
    levels: int


class ResultOut(_Part):
    """What a job found, from what, how, and what to beware of."""

    model_config = example(
        {
            "schema_version": 1,
            "job": {"id": "019caf2b1c3c5d0e7f9a2b4c", "attempt": 1},
            "started_at": "2026-03-02T09:14:05.400000+00:00",
            "finished_at": "2026-03-02T09:15:40.100000+00:00",
            "files": {"overlay.tif": {"bytes": 1_204_332, "sha256": "5f0c..."}},
            "classes": [
                {
                    "value": 1,
                    "name": "normal",
                    "colour": [0, 0, 0],
                    "pixels": 1_200_000,
                    "area_mm2": 1.04682,
                    "fraction": 0.31,
                }
            ],
            "tissue": {
                "area_mm2": 3.3768,
                "searched_mm2": 8.04,
                "fraction": 0.42,
                "fraction_of_slide": 0.42,
                "megapixels": 15.484,
            },
            "mpp": {"slide": 0.467, "source": "vendor", "label": 0.934, "downsample": 2, "resampled": False},
            "warnings": [{"code": "blurred", "words": "The tissue looks out of focus ..."}],
        }
    )
    model_config["extra"] = "allow"
    schema_version: Literal[1] | None = Field(None, description="Null in results of before it was written.")
    job: RunRef | None = None
    started_at: datetime | None = Field(None, description="Of the attempt that finished the job.")
    finished_at: datetime | None = None
    files: dict[str, FileFacts]
    classes: list[ClassArea]
    tissue: TissueFacts | None = None
    slide: SlideFacts
    software: str
    model: ModelFacts
    mpp: MppFacts
    parameters: JobParametersOut = Field(description="As asked for, with the halo that was used.")
    resolved: ResolvedParameters | None = None
    class_names: dict[str, str]
    warnings: list[WarningOut] = []
    versions: dict[str, str] | None = Field(None, description="Of this software and what it stands on.")
    label_map: LabelMapFacts
    confidence: ConfidenceFacts | None = Field(None, description="Of a job that asked for it.")
    device: str
    dtype: str
    compiled: bool
    backend: str = Field("torch", description="What computed the network: torch, or onnxruntime and version.")
    batch_size: int | None
    patches: int
    megapixels: float = Field(description="Level-0 megapixels of the slices that hold tissue.")
    megapixels_per_second: float | None
    stage_seconds: dict[str, float]
