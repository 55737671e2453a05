"""Draw the structures of the second version as stamps: acini, ducts, nests, cords, vessels, landmarks.

Lengths are micrometres, as in `wsi.phantom.stamps`, whose strokes these drawings are made of.
"""

import numpy as np

from .stain import Densities
from .stamps import Brush, Outline, Plane, Stamp, add, blit, clearing, nucleus, offsets, pack, ring, soft


def ripples(brush: Brush, dx: Plane, dy: Plane, wavelength_um: float) -> Plane:
    """Return smooth noise of about unit spread: ten waves of random direction, from sines of one axis."""
    column, row = dx[0], dy[:, 0]
    total = np.zeros(dx.shape, dtype=np.float32)
    for _ in range(10):
        angle, phase, scale = brush.rng.uniform((0, 0, 0.6), (np.pi, 2 * np.pi, 1.5))
        turn = 2 * np.pi / brush.px(wavelength_um * scale)
        across = column * np.float32(turn * np.cos(angle)) + np.float32(phase)
        down = row * np.float32(turn * np.sin(angle))
        total += np.outer(np.cos(down), np.sin(across))
        total += np.outer(np.sin(down), np.cos(across))
    return total / np.float32(3.2)


class Tube:
    """Outline of a bent tube with round ends; depth is measured from its wall, in l0 px."""

    def __init__(self, brush: Brush, half_length_um: float, half_width_um: float, bend: float) -> None:
        rng = brush.rng
        self._half_length, self._half_width = brush.px(half_length_um), brush.px(half_width_um)
        turn = rng.uniform(0, np.pi)
        along = np.linspace(-1, 1, 15)
        sag = bend * self._half_length * np.sin(along * rng.uniform(1.2, 2.6) + rng.uniform(0, 6))
        sag -= sag.mean()
        along = along * self._half_length
        self._line_x = (along * np.cos(turn) - sag * np.sin(turn)).astype(np.float32)
        self._line_y = (along * np.sin(turn) + sag * np.cos(turn)).astype(np.float32)

    def depth(self, dx: Plane, dy: Plane) -> Plane:
        """Return the px inside the tube; negative outside."""
        nearest = np.full(dx.shape, np.inf, dtype=np.float32)
        for x, y in zip(self._line_x, self._line_y, strict=True):
            np.minimum(nearest, (dx - x) ** 2 + (dy - y) ** 2, out=nearest)
        depth: Plane = np.float32(self._half_width) - np.sqrt(nearest)
        return depth


def acinus(brush: Brush, radius_um: float, nuclei: list[Stamp]) -> Stamp:
    """Draw a quiet gland: one even row of cells around an open lumen, in a sleeve of loose pale stroma."""
    wall = brush.rng.uniform(10.5, 13.5)
    edge = Outline(brush, radius_um, 0.13)
    image = brush.canvas(radius_um * 1.35 + 12)
    dx, dy = offsets(image)
    depth = edge.depth(dx, dy)
    cell = soft(depth, brush.px(1) + brush.blur_px)
    lumen = soft(depth - brush.px(wall), brush.px(1.5) + brush.blur_px)
    rim = np.exp(-(((depth - brush.px(1)) / brush.px(2)) ** 2))
    secretion = brush.rng.choice((0.0, 0.0, 26.0, 48.0))
    add(image, cell * (1 - lumen) * 46, cell * (84 - (82 - secretion) * lumen) + 24 * rim * cell)
    ring(image, edge, brush, nuclei, wall * 0.52, 6.6)
    return _sleeved(brush, image, cell, depth, 13.0)


def crowded_gland(brush: Brush, radius_um: float, nuclei: list[Stamp]) -> Stamp:
    """Draw a hyperplastic gland: the wall several cells deep, the lumen a narrow folded slit."""
    edge = Outline(brush, radius_um, 0.13)
    slit = Outline(brush, max(radius_um * brush.rng.uniform(0.26, 0.42), 4.0), 0.42)
    image = brush.canvas(radius_um * 1.35 + 12)
    dx, dy = offsets(image)
    depth, inner = edge.depth(dx, dy), slit.depth(dx, dy)
    cell = soft(depth, brush.px(1) + brush.blur_px)
    lumen = soft(inner, brush.px(1.5) + brush.blur_px)
    rim = np.exp(-(((depth - brush.px(1)) / brush.px(2)) ** 2))
    add(image, cell * (1 - lumen) * 50, cell * (86 - 80 * lumen) + 24 * rim * cell)
    depths = np.where(inner > -brush.px(4), 0, depth)
    _pack_where(image, brush, nuclei, 7.4, depths > brush.px(4.5))
    return _sleeved(brush, image, cell, depth, 13.0)


def round_nest(brush: Brush, radius_um: float, nuclei: list[Stamp]) -> Stamp:
    """Draw a nest with a smooth sheath and punched-out round holes: cells within a duct."""
    rng = brush.rng
    edge = Outline(brush, radius_um, 0.08)
    image = brush.canvas(radius_um * 1.25)
    dx, dy = offsets(image)
    depth = edge.depth(dx, dy)
    cell = soft(depth, brush.px(1) + brush.blur_px)
    hole = np.full(dx.shape, -np.inf, dtype=np.float32)
    for _ in range(int(rng.integers(1, 2 + int(radius_um / 16)))):
        far, angle, size = rng.uniform(0, 0.62) * radius_um, rng.uniform(0, 6.3), rng.uniform(5, 10)
        x, y = brush.px(far * np.cos(angle)), brush.px(far * np.sin(angle))
        np.maximum(hole, np.float32(brush.px(size)) - np.hypot(dx - x, dy - y), out=hole)
    open_ = soft(hole, brush.px(1.5) + brush.blur_px)
    sheath = np.exp(-(((depth - brush.px(0.5)) / brush.px(1.8)) ** 2))
    rough = ripples(brush, dx, dy, 14.0)
    add(
        image,
        cell * (1 - open_) * (50 + 8 * rough),
        cell * (88 + 10 * rough) * (1 - 0.95 * open_) + 40 * sheath * cell,
    )
    _pack_where(image, brush, nuclei, 10.0, (depth > brush.px(5)) & (hole < -brush.px(3.5)))
    return clearing(image, cell)


def ragged_nest(brush: Brush, radius_um: float, nuclei: list[Stamp]) -> Stamp:
    """Draw a nest with an uneven edge without sheath, pulled off the stroma on one side."""
    rng = brush.rng
    edge = Outline(brush, radius_um * 0.92, 0.26)
    image = brush.canvas(radius_um * 1.7)
    dx, dy = offsets(image)
    depth = edge.depth(dx, dy)
    cell = soft(depth, brush.px(1.5) + brush.blur_px)
    rough = ripples(brush, dx, dy, 14.0)
    add(image, cell * (50 + 10 * rough), cell * (86 + 14 * rough))
    pack(image, edge, brush, nuclei, 10.0, (3.0, 1e9))
    side = rng.uniform(0, 2 * np.pi)
    away = np.clip((dx * np.cos(side) + dy * np.sin(side)) / brush.px(radius_um), 0, 1)
    cleft = soft(depth + brush.px(5.5) * away, brush.px(1.5) + brush.blur_px)
    return clearing(image, np.maximum(cell, cleft * 0.92))


def cord(brush: Brush, length_um: float, nuclei: list[Stamp]) -> Stamp:
    """Draw a cord: cells in single file or two abreast, bent through the stroma."""
    edge = Tube(brush, length_um / 2, brush.rng.uniform(6.0, 10.0), 0.25)
    image = brush.canvas(length_um * 0.62 + 12)
    dx, dy = offsets(image)
    depth = edge.depth(dx, dy)
    cell = soft(depth, brush.px(1.5) + brush.blur_px)
    add(image, cell * 46, cell * 84)
    pack(image, edge, brush, nuclei, 9.0, (3.6, 1e9))
    return clearing(image, cell)


def long_duct(brush: Brush, half_length_um: float, nuclei: list[Stamp]) -> Stamp:
    """Draw a duct with lumen, cut along its length: two rows of cells on either side."""
    width = brush.rng.uniform(24, 40)
    edge = Tube(brush, half_length_um, width, 0.18)
    image = brush.canvas(half_length_um * 1.2 + width * 1.3 + 22)
    dx, dy = offsets(image)
    depth = edge.depth(dx, dy)
    cell = soft(depth, brush.px(1) + brush.blur_px)
    lumen = soft(depth - brush.px(14), brush.px(1.5) + brush.blur_px)
    rim = np.exp(-(((depth - brush.px(1)) / brush.px(2.2)) ** 2))
    content = brush.rng.choice((4.0, 30.0, 58.0)) * (0.93 + 0.07 * ripples(brush, dx, dy, 20.0))
    add(image, cell * (1 - lumen) * 46, cell * (84 * (1 - lumen) + content * lumen) + 26 * rim * cell)
    pack(image, edge, brush, nuclei, 6.4, (3.6, 10.5))
    return _sleeved(brush, image, cell, depth, 18.0)


def arteriole(brush: Brush, radius_um: float) -> Stamp:
    """Draw a small artery: a thick pink wall in rings, little blood; stands everywhere and says nothing."""
    edge = Outline(brush, radius_um, 0.12)
    image = brush.canvas(radius_um * 1.35 + 12)
    dx, dy = offsets(image)
    depth = edge.depth(dx, dy)
    shape = soft(depth, brush.px(2) + brush.blur_px)
    lumen = soft(depth - brush.px(radius_um * 0.55), brush.px(2) + brush.blur_px)
    rings = np.sin(depth * np.float32(2 * np.pi / brush.px(4.2)))
    add(image, shape * (1 - lumen) * 22, shape * (96 + 9 * rings - 90 * lumen))
    small = [nucleus_of(brush, 8.0, 2.6) for _ in range(8)]
    pack(image, edge, brush, small, 11.0, (3.0, radius_um * 0.5))
    return _sleeved(brush, image, shape, depth, 10.0)


def necrosis(brush: Brush, radius_um: float, dust: list[Stamp]) -> Stamp:
    """Draw necrosis-like rubble: smudged granular pink without cells, dotted with dark fragments."""
    edge = Outline(brush, radius_um, 0.26)
    image = brush.canvas(radius_um * 1.6)
    dx, dy = offsets(image)
    depth = edge.depth(dx, dy)
    shape = soft(depth, brush.px(34))
    fine, coarse = ripples(brush, dx, dy, 6.0), ripples(brush, dx, dy, 42.0)
    add(
        image,
        shape * (30 + 7 * fine + 6 * coarse),
        np.minimum(1, shape * 1.6) * (92 + 9 * fine + 13 * coarse),
    )
    _pack_where(image, brush, dust, 9.0, (depth > brush.px(14)) & (coarse + 0.6 * fine > 0.3))
    return clearing(image, shape)


def vein(brush: Brush, radius_um: float) -> Stamp:
    """Draw the landmark of NORMAL: a wide vein, a thin pale wall around blood, redder than all else."""
    edge = Outline(brush, radius_um, 0.17)
    image = brush.canvas(radius_um * 1.5)
    dx, dy = offsets(image)
    depth = edge.depth(dx, dy)
    shape = soft(depth, brush.px(2) + brush.blur_px)
    blood = soft(depth - brush.px(13), brush.px(4) + brush.blur_px)
    cells, clots = ripples(brush, dx, dy, 6.5), ripples(brush, dx, dy, 60.0)
    add(image, shape * (1 - blood) * 24, shape * (52 + blood * (132 + 22 * cells + 9 * clots)))
    thin = [nucleus_of(brush, 11.0, 2.4) for _ in range(8)]
    pack(image, edge, brush, thin, 16.0, (2.5, 9.0))
    return clearing(image, shape)


def wide_cyst(brush: Brush, radius_um: float, nuclei: list[Stamp]) -> Stamp:
    """Draw the landmark of BENIGN: a wide space within one flat row of cells, with thin pale fluid."""
    edge = Outline(brush, radius_um, 0.16)
    image = brush.canvas(radius_um * 1.5)
    dx, dy = offsets(image)
    depth = edge.depth(dx, dy)
    shape = soft(depth, brush.px(2) + brush.blur_px)
    empty = soft(depth - brush.px(10), brush.px(1.5) + brush.blur_px)
    fluid = 6 + 2 * ripples(brush, dx, dy, 90.0)
    add(image, shape * (1 - empty) * 38, shape * (88 * (1 - empty) + fluid * empty))
    ring(image, edge, brush, nuclei, 5.0, 7.5)
    return clearing(image, shape)


def comedo(brush: Brush, radius_um: float, nuclei: list[Stamp]) -> Stamp:
    """Draw the landmark of IN_SITU: a duct stuffed with dark cells around pale space and a dead pink core."""
    edge = Outline(brush, radius_um, 0.09)
    image = brush.canvas(radius_um * 1.3)
    dx, dy = offsets(image)
    depth = edge.depth(dx, dy)
    shape = soft(depth, brush.px(2) + brush.blur_px)
    wall = shape - soft(depth - brush.px(35), brush.px(3))
    dead = (
        depth
        - brush.px(radius_um * brush.rng.uniform(0.46, 0.56))
        + brush.px(5) * ripples(brush, dx, dy, 30.0)
    )
    core = soft(dead, brush.px(10))
    rough, coarse = ripples(brush, dx, dy, 6.0), ripples(brush, dx, dy, 30.0)
    sheath = np.exp(-(((depth - brush.px(1)) / brush.px(2.4)) ** 2))
    add(
        image,
        wall * (80 + 8 * rough) + (20 + 8 * rough + 6 * coarse) * core,
        wall * 92 + core * (104 + 16 * rough + 14 * coarse) + 44 * sheath * shape + 4,
    )
    pack(image, edge, brush, nuclei, 8.0, (5.5, 33.5))
    return clearing(image, shape)


def lymph_follicle(brush: Brush, radius_um: float, lymphocytes: list[Stamp]) -> Stamp:
    """Draw the landmark of INVASIVE: a crowd of lymphocytes, paler at its heart, frayed at its edge."""
    edge = Outline(brush, radius_um, 0.15)
    image = brush.canvas(radius_um * 1.55)
    dx, dy = offsets(image)
    depth: Plane = edge.depth(dx, dy) + np.float32(brush.px(7)) * ripples(brush, dx, dy, 40.0)
    shape = soft(depth - brush.px(4), brush.px(16))
    heart = soft(depth - brush.px(radius_um * 0.52), brush.px(18))
    rough = ripples(brush, dx, dy, 12.0)
    add(image, shape * (94 + 10 * rough - 26 * heart), shape * (34 + 6 * rough + 18 * heart))
    pack(image, edge, brush, lymphocytes, 6.6, (-8.0, radius_um * 0.5))
    pack(image, edge, brush, lymphocytes, 9.5, (radius_um * 0.5, 1e9))
    return clearing(image, shape)


def nucleus_of(brush: Brush, long_um: float, short_um: float) -> Stamp:
    """Draw a thin dark nucleus of a wall, in any direction."""
    return nucleus(brush, long_um, short_um, brush.rng.uniform(100, 150))


def _sleeved(brush: Brush, image: Densities, shape: Plane, depth: Plane, width_um: float) -> Stamp:
    """Return a stamp in a sleeve of loose stroma: what lies under the sleeve is paler, not cleared."""
    sleeve = np.clip(1 + depth / np.float32(brush.px(width_um)), 0, 1) ** 0.7
    cap = 255 * (1 - shape)
    # Collagen has 60 to 110 of 255; the sleeve lets 46 through at its darkest.
    cap = np.minimum(cap, np.where(sleeve > 0, 110 - 64 * sleeve, 255))
    return Stamp(image, np.repeat(cap.astype(np.uint8)[..., None], 2, axis=2))


def _pack_where(
    image: Densities, brush: Brush, nuclei: list[Stamp], gap_um: float, where: np.ndarray
) -> None:
    """Paint nuclei on a jittered hexagonal grid wherever `where` (H, W) is true."""
    rng, centre, gap = brush.rng, image.shape[0] // 2, brush.px(gap_um)
    steps = np.arange(-centre, centre, gap)
    x, y = (p.ravel() for p in np.meshgrid(steps, steps))
    x = x + np.where(np.round(y / gap) % 2, gap / 2, 0) + rng.uniform(-0.3, 0.3, x.size) * gap
    y = y * 0.9 + rng.uniform(-0.3, 0.3, y.size) * gap
    columns = np.clip(np.rint(x).astype(np.int64) + centre, 0, image.shape[1] - 1)
    rows = np.clip(np.rint(y).astype(np.int64) + centre, 0, image.shape[0] - 1)
    for row, column in zip(rows.tolist(), columns.tolist(), strict=True):
        if where[row, column]:
            blit(image, nuclei[rng.integers(len(nuclei))], column, row)
