"""Plan a slide: the patches to do, and the slices with tissue in each."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from .errors import PlanFormatError
from .geometry import Size
from .grid import Grid
from .patch_view import PatchView
from .tissue import TissueMask


@dataclass(frozen=True, slots=True)
class Patch:
    """One unit of work: a patch with tissue."""

    index: int
    """row * grid.patch_columns + column."""
    column: int
    row: int
    slices: tuple[tuple[int, int], ...]
    """(column, row) inside the patch of each slice with tissue, row-major; never empty."""


@dataclass(frozen=True, slots=True)
class Plan:
    """All the work of a job, in the order of the patch index."""

    grid: Grid
    patches: tuple[Patch, ...]

    def view(self, patch: Patch) -> PatchView:
        """Cut a patch of this plan for the network."""
        return self.grid.patch_view(patch.index, patch.slices)

    def to_json(self) -> dict[str, Any]:
        """Return the plan as a JSON object."""
        patches = [
            {"index": patch.index, "slices": [list(slice_) for slice_ in patch.slices]}
            for patch in self.patches
        ]
        return {"grid": asdict(self.grid), "patches": patches}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "Plan":
        """Return the plan that `to_json` wrote.

        Raises:
            PlanFormatError: `data` is no plan of this version.
        """
        try:
            fields = dict(data["grid"])
            slide, label_size = Size(**fields.pop("slide")), Size(**fields.pop("label_size"))
            grid = Grid(slide=slide, label_size=label_size, **fields)
            patches = tuple(
                _patch(grid, stored["index"], tuple((int(x), int(y)) for x, y in stored["slices"]))
                for stored in data["patches"]
            )
        except (KeyError, TypeError, ValueError) as error:
            raise PlanFormatError(
                f"This is no plan of this version ({error!r}). Delete it; it is made anew."
            ) from error
        return cls(grid, patches)


def make_plan(grid: Grid, tissue: TissueMask) -> Plan:
    """Plan the patches that hold tissue. Pure: the same grid and mask give the same plan."""
    has_tissue = tissue.tile_has_tissue(grid)
    slices_by_patch: dict[int, list[tuple[int, int]]] = {}
    for row, column in zip(*(axis.tolist() for axis in has_tissue.nonzero()), strict=True):
        (patch_row, y), (patch_column, x) = (
            divmod(row, grid.slices_per_side),
            divmod(column, grid.slices_per_side),
        )
        slices_by_patch.setdefault(patch_row * grid.patch_columns + patch_column, []).append((x, y))
    return Plan(
        grid, tuple(_patch(grid, index, tuple(slices_by_patch[index])) for index in sorted(slices_by_patch))
    )


def _patch(grid: Grid, index: int, slices: tuple[tuple[int, int], ...]) -> Patch:
    row, column = divmod(index, grid.patch_columns)
    return Patch(index=index, column=column, row=row, slices=slices)
