"""Augment training patches: turns, mirrors and stain, the same for a patch, its slices and their labels."""

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Augmentation:
    """Quarter turns, a mirror and a change of stain, chosen once for a patch.

    The stain maps a value to 255 * gain * (value / 255) ** strength, per channel. An exponent scales optical
    density, as more or less dye would.
    """

    quarter_turns: int
    mirrored: bool
    strength: NDArray[np.float32]
    """(3,): exponent of each channel."""
    gain: float

    @classmethod
    def draw(cls, rng: np.random.Generator, stain_jitter: float) -> Self:
        """Draw a random augmentation.

        `stain_jitter` is the standard deviation of ln(strength); 0: the stain stays as it is.
        """
        return cls(
            quarter_turns=int(rng.integers(4)),
            mirrored=bool(rng.integers(2)),
            strength=np.exp(rng.normal(0, stain_jitter, 3)).astype(np.float32),
            gain=float(np.exp(rng.normal(0, 0.2 * stain_jitter))),
        )

    def stain(self, pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Change the stain of RGB pixels (H, W, 3) uint8."""
        values = np.linspace(0, 1, 256, dtype=np.float32)[:, None]
        table = np.clip(255 * self.gain * values**self.strength, 0, 255).round().astype(np.uint8)
        stained: NDArray[np.uint8] = table[pixels, np.arange(3)]
        return stained

    def turn(self, array: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Turn and mirror a square array (H, W, ...), W = H."""
        turned = np.rot90(array, self.quarter_turns)
        return turned[:, ::-1] if self.mirrored else turned

    def turn_boxes(self, boxes: NDArray[np.float32]) -> NDArray[np.float32]:
        """Turn and mirror boxes with the context that they lie in.

        (N, 4): left, top, right, bottom as fractions of the context.
        """
        left, top, right, bottom = boxes.T
        for _ in range(self.quarter_turns):
            left, top, right, bottom = top, 1 - right, bottom, 1 - left
        if self.mirrored:
            left, right = 1 - right, 1 - left
        return np.stack((left, top, right, bottom), axis=1)
