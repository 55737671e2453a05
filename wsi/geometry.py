"""Compute with pixel rectangles. Names say which frame one is in (`_l0`, label px, level px)."""

from dataclasses import dataclass
from typing import Literal

WindowSpan = Literal["slice", "quarter", "patch"]
"""What a window of the network labels: a slice, a quarter of its patch, or the whole patch."""


@dataclass(frozen=True, slots=True)
class Size:
    """Width and height in pixels."""

    width: int
    height: int

    @property
    def pixels(self) -> int:
        """Number of pixels covered."""
        return self.width * self.height

    def tiles(self, side_px: int) -> "Size":
        """Return how many columns and rows of squares of `side_px` cover this size."""
        return Size(ceil_div(self.width, side_px), ceil_div(self.height, side_px))


@dataclass(frozen=True, slots=True)
class Rect:
    """Half-open rectangle: holds x <= column < right and y <= row < bottom.

    It may be empty, and may begin left of or above the origin.
    """

    x: int
    y: int
    width: int
    height: int

    @classmethod
    def of(cls, size: Size) -> "Rect":
        """Return the rectangle of that size at the origin."""
        return cls(0, 0, size.width, size.height)

    @property
    def right(self) -> int:
        """First column past the rectangle."""
        return self.x + self.width

    @property
    def bottom(self) -> int:
        """First row past the rectangle."""
        return self.y + self.height

    @property
    def size(self) -> Size:
        """Width and height."""
        return Size(self.width, self.height)

    @property
    def is_empty(self) -> bool:
        """Whether no pixel lies inside."""
        return self.width <= 0 or self.height <= 0

    def intersect(self, other: "Rect") -> "Rect":
        """Return the part that both rectangles hold; of zero width or height when they do not meet."""
        x, y = max(self.x, other.x), max(self.y, other.y)
        width, height = min(self.right, other.right) - x, min(self.bottom, other.bottom) - y
        return Rect(x, y, max(0, width), max(0, height))

    def scaled(self, factor: int) -> "Rect":
        """Return the same rectangle in a frame whose pixels are `factor` times smaller."""
        return Rect(self.x * factor, self.y * factor, self.width * factor, self.height * factor)

    def moved(self, dx: int, dy: int) -> "Rect":
        """Return the rectangle shifted by (dx, dy)."""
        return Rect(self.x + dx, self.y + dy, self.width, self.height)

    def grown(self, margin: int) -> "Rect":
        """Return the rectangle with `margin` more pixels on each of its four sides."""
        return Rect(self.x - margin, self.y - margin, self.width + 2 * margin, self.height + 2 * margin)


def ceil_div(number: int, divisor: int) -> int:
    """Return `number / divisor` rounded up."""
    return -(-number // divisor)
