"""Cut a slide: label map size, tiles, patches, and the sizes that the network is fed with.

Frames: `_l0` is the slide's level 0; label px are n x n blocks of it (n = `Grid.downsample`); network px are
what the network sees. The numbers come from the model card: the paper reads slices at 0.934 um/px and context
at five times that.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from .errors import HaloError, MppOutOfRangeError, SlideLimitError
from .geometry import Rect, Size, WindowSpan
from .patch_view import PatchView

TILE_PX = 512
"""Side of a TIFF tile and of a slice, which yields exactly one tile, in label px."""

NETWORK_MULTIPLE_PX = 32
"""The encoders halve five times, so every side the network is fed with is a multiple of this."""

HALO_MULTIPLE_PX = NETWORK_MULTIPLE_PX // 2
"""Two halos and a slice must give a multiple of NETWORK_MULTIPLE_PX."""

EXACT_TOLERANCE = 0.10
"""A scale this close to the card's is read as it is: better than decoding and resampling for a difference
no one sees."""


ContextMode = Literal["patch", "centred"]


@dataclass(frozen=True, slots=True)
class InputGeometry:
    """What a model card asks for."""

    mpp: float
    """Pixel size of slices, um/px."""
    context_ratio: int
    """Context mpp / slice mpp."""
    slices_per_side: int
    """Slices along each side of a patch core, where label px have this mpp."""
    halo_px: int
    """Margin of a slice window on each side, label px."""
    context: ContextMode = "patch"
    """Whether all slices of a patch see the patch as context, as in the paper, or each a window of the
    same size centred on it."""
    window: WindowSpan = "slice"
    """What the network labels at once. Larger windows spend less on halos and need more memory; networks
    that pool over the window label them a little otherwise."""
    context_margin_px: int | None = None
    """Margin of the context around the patch core on each side, label px; None: as wide as the halo."""

    @property
    def margin_of_context_px(self) -> int:
        """Margin of the context, stated or taken from the halo, label px."""
        return self.halo_px if self.context_margin_px is None else self.context_margin_px


@dataclass(frozen=True, slots=True)
class Grid:
    """The cut of one slide for one model. A pure value: the same slide, mpp and card give the same grid."""

    slide: Size
    """l0 px."""
    slide_mpp: float
    downsample: int
    """n: l0 px along the side of a label px."""
    label_size: Size
    """Label px; floor(slide / n), so every label px is fully backed by the slide."""
    halo_px: int
    """Margin of a slice window on each side: the request's, else the card's. Label px, multiple of 16."""
    context_margin_px: int
    """Margin of the context around the patch core, label px: the card's, as in training, whatever halo a
    request has."""
    slices_per_side: int
    """Slices along each side of a patch core: the card's, or what comes nearest to its patch in mm."""
    network_per_label_px: float
    """Network px along the side of a label px; 1 where the network reads label px as they are."""
    slice_network_px: int
    """Side of a window as it is fed to the network, multiple of 32."""
    context_network_px: int
    """Side of a slice's context as it is fed to the network, multiple of 32."""
    context: ContextMode = "patch"
    window: WindowSpan = "slice"
    """What a window labels: the request's, else the card's."""

    @property
    def label_mpp(self) -> float:
        """Pixel size of the label map, um/px."""
        return self.slide_mpp * self.downsample

    @property
    def exact(self) -> bool:
        """Whether the network reads label px as they are, without resampling."""
        return self.network_per_label_px == 1

    @property
    def windows_per_side(self) -> int:
        """Windows along each side of a patch."""
        return {"slice": self.slices_per_side, "quarter": 2, "patch": 1}[self.window]

    @property
    def window_core_px(self) -> int:
        """Side of what a window labels, label px; not a whole number of slices for a quarter of 5 x 5."""
        return self.patch_px // self.windows_per_side

    @property
    def window_px(self) -> int:
        """Side of a window: what it labels and its halo on both sides, label px."""
        return self.window_core_px + 2 * self.halo_px

    @property
    def patch_px(self) -> int:
        """Side of a patch core, label px."""
        return self.slices_per_side * TILE_PX

    @property
    def region_margin_px(self) -> int:
        """Margin of what is read around a patch core, label px; windows and a patch's context fit into it."""
        return max(self.halo_px, self.context_margin_px)

    @property
    def region_px(self) -> int:
        """Side of a patch region, what is read at once: core and margin on both sides, label px."""
        return self.patch_px + 2 * self.region_margin_px

    def network_px(self, side_px: int) -> int:
        """Side at which a square of `side_px` label px is fed to the network, multiple of 32."""
        return _to_network_multiple(side_px * self.network_per_label_px)

    @property
    def tile_columns(self) -> int:
        """Tiles across the label map."""
        return self.label_size.tiles(TILE_PX).width

    @property
    def tile_rows(self) -> int:
        """Tiles down the label map."""
        return self.label_size.tiles(TILE_PX).height

    @property
    def patch_columns(self) -> int:
        """Patches across the label map."""
        return self.label_size.tiles(self.patch_px).width

    @property
    def patch_rows(self) -> int:
        """Patches down the label map."""
        return self.label_size.tiles(self.patch_px).height

    @property
    def slice_megapixels_l0(self) -> float:
        """Level-0 megapixels under one slice: the unit in which speed is counted."""
        return (TILE_PX * self.downsample) ** 2 / 1e6

    def patch_core(self, index: int) -> Rect:
        """Return the block of the label map that patch `index` (row-major) alone labels, label px.

        It may stick out right and below.

        Raises:
            IndexError: there is no such patch.
        """
        if not 0 <= index < self.patch_columns * self.patch_rows:
            raise IndexError(f"patch {index} of {self.patch_columns * self.patch_rows}")
        row, column = divmod(index, self.patch_columns)
        return Rect(column * self.patch_px, row * self.patch_px, self.patch_px, self.patch_px)

    def patch_view(self, index: int, slices: Iterable[tuple[int, int]]) -> PatchView:
        """Cut patch `index` for the network; `slices` are the (column, row) in it of those to label.

        Windows have fixed places in the patch, whatever the slices: no label depends on which others are
        wanted. Those that hold a slice are cut.
        """
        core, side = self.patch_core(index), self.window_core_px
        corners = tuple((core.x + x * side, core.y + y * side) for x, y in self._windows_of(slices))
        return self.cut(core, corners, halo_px=self.halo_px, slice_px=side)

    def _windows_of(self, slices: Iterable[tuple[int, int]]) -> Iterable[tuple[int, int]]:
        """Return the (column, row) in the patch of the windows that hold a part of these slices."""
        if self.window == "slice":
            return slices
        side = self.window_core_px
        reached = [
            [range(at * TILE_PX // side, ((at + 1) * TILE_PX - 1) // side + 1) for at in slice_]
            for slice_ in slices
        ]
        found = {(x, y) for columns, rows in reached for x in columns for y in rows}
        return sorted(found, key=lambda window: (window[1], window[0]))

    def cut(
        self, core: Rect, corners: Sequence[tuple[int, int]], *, halo_px: int, slice_px: int = TILE_PX
    ) -> PatchView:
        """Cut a patch core of this grid's size into slices at these corners (x, y), label px."""
        context, context_network_px = core.grown(self.context_margin_px), self.context_network_px
        windows: tuple[Rect, ...] = ()
        if self.context == "centred":
            reach = (context.width - slice_px) // 2
            windows = tuple(Rect(x, y, slice_px, slice_px).grown(reach) for x, y in corners)
            context, context_network_px = self._context_field(core, slice_px)
        return PatchView(
            region=core.grown(max(halo_px, self.context_margin_px)),
            context=context,
            corners=tuple(corners),
            slice_px=slice_px,
            halo_px=halo_px,
            slice_network_px=self.network_px(slice_px + 2 * halo_px),
            context_network_px=context_network_px,
            context_windows=windows,
        )

    def _context_field(self, core: Rect, slice_px: int) -> tuple[Rect, int]:
        """Return what holds the context windows of all slices of a patch, and its side in network px.

        It is at the scale of the context to within one label px: network sides are multiples of 32, label px
        whole.
        """
        window_px = self.patch_px + 2 * self.context_margin_px
        needed_px = window_px + self.patch_px - slice_px
        network_px = _up_to_network_multiple(needed_px * self.context_network_px / window_px)
        margin_px = round((network_px * window_px / self.context_network_px - self.patch_px) / 2)
        return core.grown(margin_px), network_px


def make_grid(
    slide: Size,
    slide_mpp: float,
    geometry: InputGeometry,
    *,
    halo_px: int | None = None,
    window: WindowSpan | None = None,
) -> Grid:
    """Cut a slide of `slide` l0 px and `slide_mpp` um/px; `halo_px` and `window` override the card's.

    n is the largest integer whose n * slide_mpp is at most 10 % coarser than the card's mpp, so that no more
    detail than that is thrown away; at least 1. Within 10 % the network reads label px as they are. Otherwise
    they are resampled to the card's, and a patch has as many slices as bring it nearest to its size in mm.

    Raises:
        MppOutOfRangeError: the slide is more than twice as coarse as the model.
        HaloError: `halo_px` is no multiple of 16, or too wide.
        SlideLimitError: the slide is smaller than one label px.
    """
    _check_mpp(slide_mpp, geometry.mpp)
    context_margin = _checked_halo(geometry.margin_of_context_px)
    n = max(1, math.floor((1 + EXACT_TOLERANCE) * geometry.mpp / slide_mpp))
    scale = _network_per_label_px(n, geometry.mpp / slide_mpp)
    slices_per_side = max(1, round(geometry.slices_per_side / scale))
    context_px = slices_per_side * TILE_PX + 2 * context_margin
    grid = Grid(
        slide=slide,
        slide_mpp=slide_mpp,
        downsample=n,
        label_size=_label_size(slide, n),
        halo_px=_checked_halo(geometry.halo_px if halo_px is None else halo_px),
        context_margin_px=context_margin,
        slices_per_side=slices_per_side,
        network_per_label_px=scale,
        slice_network_px=0,
        context_network_px=_to_network_multiple(context_px * scale / geometry.context_ratio),
        context=geometry.context,
        window=window or geometry.window,
    )
    return replace(grid, slice_network_px=grid.network_px(grid.window_px))


def _check_mpp(slide_mpp: float, model_mpp: float) -> None:
    if slide_mpp > 2 * model_mpp or slide_mpp <= 0:
        raise MppOutOfRangeError(
            f"The slide has {slide_mpp:g} um/px; the model needs {model_mpp:g} um/px and detail cannot be "
            f"made up. Send a slide of at most {2 * model_mpp:g} um/px, or mpp=... (--mpp on the command "
            "line) if its own value is wrong."
        )


def _label_size(slide: Size, n: int) -> Size:
    size = Size(slide.width // n, slide.height // n)
    if size.width < 1 or size.height < 1:
        raise SlideLimitError(
            f"The slide is {slide.width} x {slide.height} px, smaller than one {n} px block. "
            "Send a larger one."
        )
    return size


def _network_per_label_px(n: int, wanted: float) -> float:
    """Return the network px along a label px of n l0 px, where `wanted` l0 px make one px of the card.

    It is 1 within 10 %: label px are not resampled then.
    """
    exact = (1 - EXACT_TOLERANCE) * wanted <= n <= (1 + EXACT_TOLERANCE) * wanted
    return 1.0 if exact else n / wanted


def _to_network_multiple(px: float) -> int:
    return max(1, round(px / NETWORK_MULTIPLE_PX)) * NETWORK_MULTIPLE_PX


def _up_to_network_multiple(px: float) -> int:
    return math.ceil(px / NETWORK_MULTIPLE_PX) * NETWORK_MULTIPLE_PX


def _checked_halo(halo_px: int) -> int:
    if halo_px % HALO_MULTIPLE_PX or not 0 <= halo_px <= TILE_PX:
        raise HaloError(f"halo_px={halo_px}: send a multiple of {HALO_MULTIPLE_PX} from 0 to {TILE_PX}.")
    return halo_px
