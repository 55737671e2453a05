"""Schemas of a job's parameters as answers show them."""

from dataclasses import replace
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from workers.jobs import JobParameters, Priority
from wsi.errors import RegionsInvalidError
from wsi.geometry import WindowSpan

ONLY_IF_SET = Field(exclude_if=lambda value: value is None)
"""Annotation of members that are left out of an answer while they say nothing."""


class RegionsFacts(BaseModel):
    """What stands for the polygons that a job was limited to."""

    model_config = ConfigDict(extra="allow", frozen=True)
    unit: str
    polygons: int
    vertices: int
    sha256: str = Field(description="The same polygons have the same.")


class JobParametersOut(BaseModel):
    """Parameters of a job as they were asked for; null leaves the choice to slide, model or service."""

    model_config = ConfigDict(extra="allow", frozen=True)
    mpp: float | None = Field(description="Micrometres per pixel of level 0.")
    halo_px: int | None = Field(description="Overlap around each slice, in label pixels.")
    precision: str | None = Field(description="Number format of the network.")
    tissue: bool = Field(description="Whether glass is looked for and left out.")
    outputs: list[str] = Field([], description="Results besides the two TIFFs.")
    priority: Priority = "normal"
    tissue_rules: Annotated[int | None, ONLY_IF_SET] = Field(
        None, description="Version of what counts as tissue, if that matters."
    )
    window: Annotated[WindowSpan | None, ONLY_IF_SET] = Field(
        None, description="What the network labels at once."
    )
    regions: Annotated[RegionsFacts | None, ONLY_IF_SET] = Field(None, description="Where the job looks.")
    tissue_outlines: Annotated[RegionsFacts | None, ONLY_IF_SET] = Field(
        None, description="A tissue mask that came with the job."
    )


def shown_members(parameters: JobParameters) -> dict[str, Any]:
    """Return the parameters of a record as JSON members, without polygons that cannot be read.

    Somebody else wrote those: their job fails and says why; no other may be hidden by it.
    """
    try:
        return parameters.to_json()
    except RegionsInvalidError:
        return replace(parameters, regions=None, tissue_outlines=None).to_json()
