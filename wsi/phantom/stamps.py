"""Draw cells, glands, nests and landmarks as stamps: density images to blit.

A stamp is two uint8 images: `cap`, the most density that may remain of what lies under it, and `paint`, the
least that is there afterwards. Minimum and maximum of bytes give soft edges without any arithmetic on the
slide's pixels. Lengths are micrometres; the `Brush` that every drawing function takes knows the pixel size.
"""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from .stain import Densities

Plane = NDArray[np.float32]

_ANGLES = 2048


@dataclass(frozen=True, slots=True)
class Stamp:
    """Structure to blit, (H, W, 2) uint8; `cap` is None where nothing below is cleared."""

    paint: Densities
    cap: Densities | None = None

    @property
    def reach_px(self) -> int:
        """Half its side, rounded up."""
        side: int = max(self.paint.shape)
        return (side + 1) // 2

    def variants(self) -> tuple["Stamp", ...]:
        """Return the stamp and three turned or mirrored images of it.

        Rows stay contiguous, so all blit equally fast.
        """
        turned = Stamp(_turned(self.paint), None if self.cap is None else _turned(self.cap))
        return tuple(
            flipped
            for stamp in (self, turned)
            for flipped in (stamp, Stamp(stamp.paint[::-1], None if stamp.cap is None else stamp.cap[::-1]))
        )


def _turned(image: Densities) -> Densities:
    # Pairs of bytes as one number each: copied a multiple faster.
    pairs = np.ascontiguousarray(image).view("<u2")[..., 0]
    return np.ascontiguousarray(pairs.T[:, ::-1])[..., None].view(np.uint8)


def blit(canvas: Densities, stamp: Stamp, x: int, y: int) -> None:
    """Put the stamp's centre at canvas pixel (x, y), in place; what sticks out is cut off."""
    height, width = stamp.paint.shape[:2]
    left, top = x - width // 2, y - height // 2
    x0, y0 = max(left, 0), max(top, 0)
    x1, y1 = min(left + width, canvas.shape[1]), min(top + height, canvas.shape[0])
    if x0 >= x1 or y0 >= y1:
        return
    target = canvas[y0:y1, x0:x1]
    rows, columns = slice(y0 - top, y1 - top), slice(x0 - left, x1 - left)
    if stamp.cap is not None:
        np.minimum(target, stamp.cap[rows, columns], out=target)
    np.maximum(target, stamp.paint[rows, columns], out=target)


@dataclass(frozen=True, slots=True)
class Brush:
    """Random numbers, scale and sharpness that all drawing of one slide shares."""

    rng: np.random.Generator
    mpp: float
    blur_px: float

    def px(self, length_um: float) -> float:
        """Convert micrometres to l0 px."""
        return length_um / self.mpp

    def canvas(self, radius_um: float) -> Densities:
        """Return an empty density image with room for that radius around its centre: an odd square."""
        reach = int(np.ceil(self.px(radius_um) + 2 * self.blur_px)) + 2
        return np.zeros((2 * reach + 1, 2 * reach + 1, 2), dtype=np.uint8)


def nucleus(
    brush: Brush, long_um: float, short_um: float, density: float, angle: float | None = None
) -> Stamp:
    """Draw a nucleus: an ellipse with a darker rim and clumped chromatin; diameters in um, density 0..255."""
    rng = brush.rng
    image = brush.canvas(long_um / 2)
    dx, dy = offsets(image)
    theta = rng.uniform(0, np.pi) if angle is None else angle
    along, across = dx * np.cos(theta) + dy * np.sin(theta), dy * np.cos(theta) - dx * np.sin(theta)
    a, b = brush.px(long_um / 2), brush.px(short_um / 2)
    reach = np.sqrt((along / a) ** 2 + (across / b) ** 2)
    inside = soft((1 - reach) * b, 0.7 + brush.blur_px)
    waves = rng.uniform(0.25, 0.75, (3, 2)) * rng.choice((-1, 1), (3, 2)) * 2 / brush.px(2.2)
    chromatin = sum(np.sin(dx * wx + dy * wy + rng.uniform(0, 6)) for wx, wy in waves) / 3
    body = density * (0.84 + 0.16 * np.clip(reach, 0, 1) ** 3 + 0.10 * chromatin)
    add(image, body * inside, (45 + 20 * chromatin) * inside)
    return Stamp(image)


def gland(brush: Brush, radius_um: float, nuclei: list[Stamp]) -> Stamp:
    """Draw a gland: a ring of epithelium around a lumen of pale secretion, not white as a cyst is.

    Used by both kinds of territory that have glands.
    """
    wall = brush.rng.uniform(17, 22)
    edge = Outline(brush, radius_um, 0.11)
    image = brush.canvas(radius_um * 1.35)
    dx, dy = offsets(image)
    depth = edge.depth(dx, dy)
    cell = soft(depth, brush.px(1) + brush.blur_px)
    lumen = soft(depth - brush.px(wall), brush.px(1.5) + brush.blur_px)
    rim = np.exp(-(((depth - brush.px(1.5)) / brush.px(2.5)) ** 2))
    add(image, cell * (1 - lumen) * (44 + 22 * rim), cell * (92 - 56 * lumen) + 20 * rim * cell)
    for inset, gap in ((6.5, 7.2), (wall - 6.0, 9.5)):
        ring(image, edge, brush, nuclei, inset, gap)
    return clearing(image, cell)


def nest(brush: Brush, radius_um: float, nuclei: list[Stamp]) -> Stamp:
    """Draw a nest, a solid clump of crowded atypical cells; for both kinds of territory that have nests."""
    edge = Outline(brush, radius_um, 0.16)
    image = brush.canvas(radius_um * 1.5)
    dx, dy = offsets(image)
    cell = soft(edge.depth(dx, dy), brush.px(1.5) + brush.blur_px)
    rough = mottle(brush, dx, dy, 14.0)
    add(image, cell * (50 + 10 * rough), cell * (88 + 16 * rough))
    pack(image, edge, brush, nuclei, 10.2, (4.5, 1e9))
    return clearing(image, cell)


def duct(brush: Brush, radius_um: float, nuclei: list[Stamp]) -> Stamp:
    """Draw the landmark of IN_SITU: a thick dark wall of crowded nuclei around pale space and a pink core."""
    edge = Outline(brush, radius_um, 0.06)
    image = brush.canvas(radius_um * 1.25)
    dx, dy = offsets(image)
    depth = edge.depth(dx, dy)
    shape = soft(depth, brush.px(2) + brush.blur_px)
    wall = shape - soft(depth - brush.px(41), brush.px(2))
    core = soft(depth - brush.px(radius_um * brush.rng.uniform(0.52, 0.66)), brush.px(14))
    rough = mottle(brush, dx, dy, 9.0)
    sheath = np.exp(-(((depth - brush.px(2)) / brush.px(3)) ** 2))
    add(
        image,
        wall * (82 + 8 * rough) + 16 * core,
        wall * 92 + core * (104 + 26 * rough) + 40 * sheath * shape + 5,
    )
    pack(image, edge, brush, nuclei, 8.0, (7.0, 38.0))
    return clearing(image, shape)


def vessel(brush: Brush, radius_um: float) -> Stamp:
    """Draw the landmark of NORMAL: a vein, a thin pale wall around blood, the reddest thing on the slide."""
    edge = Outline(brush, radius_um, 0.10)
    image = brush.canvas(radius_um * 1.3)
    dx, dy = offsets(image)
    depth = edge.depth(dx, dy)
    shape = soft(depth, brush.px(2) + brush.blur_px)
    blood = soft(depth - brush.px(14), brush.px(3) + brush.blur_px)
    rough = mottle(brush, dx, dy, 7.0)
    add(image, shape * (1 - blood) * 26, shape * (40 + blood * (150 + 22 * rough)))
    return clearing(image, shape)


def cyst(brush: Brush, radius_um: float, nuclei: list[Stamp]) -> Stamp:
    """Draw the landmark of BENIGN: a wide empty space within one thin row of cells."""
    edge = Outline(brush, radius_um, 0.10)
    image = brush.canvas(radius_um * 1.3)
    dx, dy = offsets(image)
    depth = edge.depth(dx, dy)
    shape = soft(depth, brush.px(2) + brush.blur_px)
    empty = soft(depth - brush.px(11), brush.px(1.5) + brush.blur_px)
    add(image, shape * (1 - empty) * 36, shape * (84 - 82 * empty))
    ring(image, edge, brush, nuclei, 5.5, 7.5)
    return clearing(image, shape)


def follicle(brush: Brush, radius_um: float, nuclei: list[Stamp]) -> Stamp:
    """Draw the landmark of INVASIVE: a crowd of lymphocytes, a dark blue disc without a wall."""
    edge = Outline(brush, radius_um, 0.14)
    image = brush.canvas(radius_um * 1.4)
    dx, dy = offsets(image)
    shape = soft(edge.depth(dx, dy), brush.px(9) + brush.blur_px)
    rough = mottle(brush, dx, dy, 12.0)
    add(image, shape * (96 + 10 * rough), shape * (34 + 6 * rough))
    pack(image, edge, brush, nuclei, 6.6, (3.0, 1e9))
    return clearing(image, shape)


class Edge(Protocol):
    """Closed curve around a structure's centre."""

    def depth(self, dx: Plane, dy: Plane) -> Plane:
        """Return the px inside the curve at each offset from the centre; negative outside."""


class Outline:
    """Closed curve: a circle, in l0 px, whose radius sways with the angle."""

    def __init__(self, brush: Brush, radius_um: float, sway: float) -> None:
        rng = brush.rng
        self.radius_px = brush.px(radius_um)
        order = np.arange(2, 7)[:, None]
        strength = sway * rng.uniform(0.3, 1.0, (5, 1)) / (order - 1) ** 0.8
        angle = np.linspace(-np.pi, np.pi, _ANGLES, endpoint=False)
        waves = strength * np.cos(order * angle + rng.uniform(0, 2 * np.pi, (5, 1)))
        self._radius = (self.radius_px * (1 + waves.sum(axis=0))).astype(np.float32)

    def radius(self, angle: NDArray[np.floating]) -> Plane:
        """Return the distance of the curve from its centre at angles -pi..pi, px."""
        radius: Plane = self._radius[((angle + np.pi) * (_ANGLES / 2 / np.pi)).astype(np.int64) % _ANGLES]
        return radius

    def depth(self, dx: Plane, dy: Plane) -> Plane:
        """Return the px inside the curve, along the ray from the centre; negative outside."""
        depth: Plane = self.radius(np.arctan2(dy, dx)) - np.hypot(dx, dy)
        return depth


def offsets(image: Densities) -> tuple[Plane, Plane]:
    """Return x and y of each pixel from the image's centre."""
    reach = image.shape[0] // 2
    dy, dx = np.mgrid[-reach : reach + 1, -reach : reach + 1].astype(np.float32)
    return dx, dy


def varied(stamps: list[Stamp]) -> tuple[Stamp, ...]:
    """Return all variants of the stamps."""
    return tuple(variant for stamp in stamps for variant in stamp.variants())


def soft(depth: Plane, width_px: float) -> Plane:
    """Return 1 well inside, 0 well outside, and a ramp of that width between."""
    ramp: Plane = np.clip(depth / np.float32(width_px) + np.float32(0.5), 0, 1)
    return ramp


def mottle(brush: Brush, dx: Plane, dy: Plane, wavelength_um: float) -> Plane:
    """Return smooth noise of about unit spread: eight waves of random direction."""
    total = np.zeros(dx.shape, dtype=np.float32)
    for _ in range(8):
        angle, phase, scale = brush.rng.uniform((0, 0, 0.6), (np.pi, 2 * np.pi, 1.5))
        turn = np.float32(2 * np.pi / brush.px(wavelength_um * scale))
        total += np.sin(
            (dx * np.float32(np.cos(angle)) + dy * np.float32(np.sin(angle))) * turn + np.float32(phase)
        )
    return total / np.float32(2.8)


def add(image: Densities, haematoxylin: Plane, eosin: Plane) -> None:
    """Paint the densities, in place, wherever they are above those of the image."""
    drawn = np.clip(np.stack((haematoxylin, eosin), axis=2), 0, 255).astype(np.uint8)
    np.maximum(image, drawn, out=image)


def clearing(image: Densities, shape: Plane) -> Stamp:
    """Return a stamp that clears what lies under `shape` (0..1)."""
    cap = np.repeat((255 * (1 - shape)).astype(np.uint8)[..., None], 2, axis=2)
    return Stamp(image, cap)


def ring(
    image: Densities, edge: Outline, brush: Brush, nuclei: list[Stamp], inset_um: float, gap_um: float
) -> None:
    """Paint nuclei side by side along the outline, `inset_um` inside it."""
    rng, centre = brush.rng, image.shape[0] // 2
    around = 2 * np.pi * max(edge.radius_px - brush.px(inset_um), 1)
    count = max(5, int(around / brush.px(gap_um)))
    angles = (np.arange(count) + rng.uniform(-0.28, 0.28, count)) * 2 * np.pi / count
    reach = edge.radius(angles) - brush.px(inset_um) + rng.normal(0, brush.px(1.1), count)
    for angle, far in zip(angles, reach, strict=True):
        stamp = nuclei[rng.integers(len(nuclei))]
        blit(image, stamp, centre + round(far * np.cos(angle)), centre + round(far * np.sin(angle)))


def pack(
    image: Densities,
    edge: Edge,
    brush: Brush,
    nuclei: list[Stamp],
    gap_um: float,
    depth_um: tuple[float, float],
) -> None:
    """Paint nuclei on a jittered hexagonal grid where the depth inside the outline is within `depth_um`."""
    rng, centre, gap = brush.rng, image.shape[0] // 2, brush.px(gap_um)
    steps = np.arange(-centre, centre, gap)
    x, y = (p.ravel() for p in np.meshgrid(steps, steps))
    x = x + np.where(np.round(y / gap) % 2, gap / 2, 0) + rng.uniform(-0.3, 0.3, x.size) * gap
    y = y * 0.9 + rng.uniform(-0.3, 0.3, y.size) * gap
    depth = edge.depth(x.astype(np.float32), y.astype(np.float32))
    for index in np.flatnonzero((depth > brush.px(depth_um[0])) & (depth < brush.px(depth_um[1]))):
        blit(image, nuclei[rng.integers(len(nuclei))], centre + round(x[index]), centre + round(y[index]))
