"""Task and outcome of a measured process, JSON files in a folder of its own. No torch here."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Self

BATCH_SLICES = 4
"""Slices in one pass of the network: the default of this service, and what tiatoolbox gets.

The naive loop takes one.
"""

TASK, OUTCOME, LABELS = "task.json", "outcome.json", "labels.npy"


@dataclass(frozen=True, slots=True)
class Task:
    """Order to segment one slide once.

    Label px are blocks of `downsample` x `downsample` level-0 px, as this service cuts them.
    """

    slide: str
    card: str
    """Path of a model card, its weights beside it."""
    folder: str
    """Folder that the process may write into."""
    stand_in: bool
    """Whether a network that costs nothing takes the place of the card's."""
    like_peers: bool
    """For this service only: fp32 and no halo, which is the arithmetic of the others."""
    int8_dir: str | None
    """For this service only: where the network's int8 form lies; None: compute in what `auto` chooses."""
    threads: int
    """CPU threads of torch."""
    downsample: int
    label_mpp: float
    """Micrometres per label px."""
    slice_px: int
    """Side of a slice, label px."""
    slices_per_side: int
    """Slices along each side of a patch."""
    context_px: int
    """Side of the context of the others, network px: their patch has no margin."""

    @property
    def patch_px(self) -> int:
        """Side of a patch, label px."""
        return self.slice_px * self.slices_per_side

    @property
    def slide_mpp(self) -> float:
        """Micrometres per level-0 px."""
        return self.label_mpp / self.downsample

    def save(self) -> Path:
        """Write the task into its folder, which is made, and return its path."""
        Path(self.folder).mkdir(parents=True)
        path = Path(self.folder) / TASK
        path.write_text(json.dumps(asdict(self)), encoding="ascii")
        return path

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read the task that `save` wrote."""
        return cls(**json.loads(path.read_text(encoding="ascii")))


@dataclass(frozen=True, slots=True)
class Outcome:
    """Time, memory and setting of one run."""

    seconds: float
    """Wall time from opening the slide to the last byte written, without imports and loading the network."""
    peak_mb: int | None
    """Most memory of the process that was resident, imports included; MB of 10^6 bytes."""
    precision: str
    halo_px: int
    """Halo, label px."""
    threads: int
    """CPU threads of torch."""
    versions: Mapping[str, str]
    stage_seconds: Mapping[str, float] = field(default_factory=dict)
    tissue_megapixels: float | None = None
    """Level-0 MP of the tiles with tissue; only this service counts them."""

    def save(self, folder: Path) -> None:
        """Write the outcome into the folder."""
        (folder / OUTCOME).write_text(json.dumps(asdict(self)), encoding="ascii")

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read the outcome that `save` wrote."""
        return cls(**json.loads((folder / OUTCOME).read_text(encoding="ascii")))
