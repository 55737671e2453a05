"""Which patches of a slide there are to do, and which tiles in each."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from .errors import PlanFormatError
from .geometry import Size
from .grid import TILE_PX, Grid
from .tissue import TissueMask


@dataclass(frozen=True, slots=True)
class Patch:
    """One unit of work: a patch with tissue."""

    index: int
    """row * grid.patch_columns + column."""
    column: int
    row: int
    tiles: tuple[tuple[int, int], ...]
    """(column, row) inside the patch of each tile with tissue, row-major; never empty."""


@dataclass(frozen=True, slots=True)
class Plan:
    """All the work of a job, in the order of the patch index."""

    grid: Grid
    patches: tuple[Patch, ...]

    def windows(self, patch: Patch) -> tuple[tuple[int, int], ...]:
        """(x, y) of the slice window of each tile, label px in the patch region; one for each of `patch.tiles`.

        A window is `grid.window_px` square: its tile and the halo, which is inside the region.
        """
        inset = self.grid.region_margin_px - self.grid.halo_px
        return tuple((inset + column * TILE_PX, inset + row * TILE_PX) for column, row in patch.tiles)

    def to_json(self) -> dict[str, Any]:
        """As a JSON object."""
        patches = [
            {"index": patch.index, "tiles": [list(tile) for tile in patch.tiles]} for patch in self.patches
        ]
        return {"grid": asdict(self.grid), "patches": patches}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "Plan":
        """The inverse of `to_json`. Raises PlanFormatError."""
        try:
            fields = dict(data["grid"])
            slide, label_size = Size(**fields.pop("slide")), Size(**fields.pop("label_size"))
            grid = Grid(slide=slide, label_size=label_size, **fields)
            patches = tuple(
                _patch(grid, stored["index"], tuple((int(x), int(y)) for x, y in stored["tiles"]))
                for stored in data["patches"]
            )
        except (KeyError, TypeError, ValueError) as error:
            raise PlanFormatError(
                f"This is no plan of this version ({error!r}). Delete it; it is made anew."
            ) from error
        return cls(grid, patches)


def make_plan(grid: Grid, tissue: TissueMask) -> Plan:
    """The patches that hold tissue. Pure: the same grid and mask give the same plan."""
    has_tissue = tissue.tile_has_tissue(grid)
    tiles_by_patch: dict[int, list[tuple[int, int]]] = {}
    for row, column in zip(*(axis.tolist() for axis in has_tissue.nonzero()), strict=True):
        (patch_row, y), (patch_column, x) = (
            divmod(row, grid.tiles_per_side),
            divmod(column, grid.tiles_per_side),
        )
        tiles_by_patch.setdefault(patch_row * grid.patch_columns + patch_column, []).append((x, y))
    return Plan(
        grid, tuple(_patch(grid, index, tuple(tiles_by_patch[index])) for index in sorted(tiles_by_patch))
    )


def _patch(grid: Grid, index: int, tiles: tuple[tuple[int, int], ...]) -> Patch:
    row, column = divmod(index, grid.patch_columns)
    return Patch(index=index, column=column, row=row, tiles=tiles)
