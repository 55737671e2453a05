"""Assign colours to label values, for the overlay's ColorMap and for the viewer."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

GLASS_COLOUR = (255, 255, 255)
"""Colour of value 0, "not analysed": white as the glass it mostly is."""


@dataclass(frozen=True, slots=True)
class LabelClass:
    """One value of the label map."""

    value: int
    """1..255; 0 is "not analysed" and no class."""
    name: str
    colour: tuple[int, int, int]
    """RGB, 0..255."""


@dataclass(frozen=True, slots=True)
class Palette:
    """Classes of a model with their colours, in the card's order.

    Raises:
        ValueError: A value or colour is out of range, or a value is used twice.
    """

    classes: tuple[LabelClass, ...]

    def __post_init__(self) -> None:
        values = [label.value for label in self.classes]
        if len(set(values)) != len(values) or any(not 1 <= value <= 255 for value in values):
            raise ValueError(f"label values must be distinct and 1..255, got {values}")
        for label in self.classes:
            if len(label.colour) != 3 or any(not 0 <= part <= 255 for part in label.colour):
                raise ValueError(f"colour of {label.name!r} must be three numbers 0..255, got {label.colour}")

    def lookup(self) -> NDArray[np.uint8]:
        """Return the colour of every value, (256, 3) RGB; 0 is white, values without a class are mid-grey."""
        table = np.full((256, 3), 128, np.uint8)
        table[0] = GLASS_COLOUR
        for label in self.classes:
            table[label.value] = label.colour
        return table

    def tiff_colour_map(self) -> NDArray[np.uint16]:
        """Return the colours as a TIFF 6.0 ColorMap, (3, 256), 0..65535.

        Values are those of `lookup` x 257, so that readers dividing by 256 or 257 agree.
        """
        return np.ascontiguousarray(self.lookup().T.astype(np.uint16) * 257)
