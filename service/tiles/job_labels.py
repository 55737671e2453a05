"""Find the tiles of a job's maps: in their finished pyramid, or in the patches stored so far."""

import json
import re
import threading
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Self

from workers.errors import JobNotFoundError
from workers.jobs import Job, JobFiles, JobState
from workers.queue.client import JobClient
from wsi.errors import LabelStoreError, PlanFormatError
from wsi.geometry import Size
from wsi.plan import Plan
from wsi.tiles.growing_labels import GrowingLabels
from wsi.tiles.patch_folder import PatchFolder
from wsi.tiles.stored_labels import StoredLabels
from wsi.writing.reduction import Reduction, reduce_majority, reduce_mean

from ..errors import ResultFileNotFoundError, ResultNotReadyError

MAX_JOBS = 8
"""Maps of jobs whose tiles are found without asking the queue: some MB each for large slides."""


_PATCH_FOLDER = re.compile("[0-9a-f]{16}")
"""Form of the folder of one kind of patches, inside of the job's folder of all patches."""

MapName = Literal["labels", "probabilities"]
"""Maps of a job that have tiles."""


@dataclass(frozen=True, slots=True)
class _Stored:
    """Where a map of a job lies, and how it is reduced."""

    pyramid: Path
    patches: Path
    reduce: Reduction

    @classmethod
    def of(cls, files: JobFiles, name: MapName, plan: Mapping[str, Any]) -> Self:
        """Return where the map of this name lies, by the plan of the attempt that runs."""
        kind = plan.get("patch_folder", "")
        folder = kind if isinstance(kind, str) and _PATCH_FOLDER.fullmatch(kind) else ""
        if name == "labels":
            return cls(files.labels, files.patches / folder, reduce_majority)
        return cls(files.probabilities, files.probability_patches / folder, reduce_mean)


@dataclass(frozen=True, slots=True)
class Coverage:
    """How far the label map of a job is filled."""

    plan: str
    """What changes when the job is planned anew."""
    version: str
    """What changes whenever a patch is stored, and never again once the job is finished."""
    patches: Mapping[int, int]
    """The stored patches, oldest first: index -> time of storing, in ns. All planned ones when finished."""
    is_finished: bool
    """Whether every tile is final."""


class JobLabels:
    """Tiles of a map of one job, while it runs and after: its labels, or their probabilities. Thread-safe."""

    def __init__(self, job: Job, name: MapName = "labels") -> None:
        """Read the job's plan.

        Raises:
            ResultNotReadyError: it has none yet, or one of another version.
            ResultFileNotFoundError: the job keeps no such map.
        """
        if name not in ("labels", *job.request.parameters.outputs):
            raise ResultFileNotFoundError(
                f"This job keeps no {name}. Run one with `outputs={name}` to have them."
            )
        self._id, self._files = job.id, job.files
        self._succeeded = job.state is JobState.SUCCEEDED
        self._plan_ns = _modified_ns(self._files.plan)
        data = _read_plan(job)
        self._map = _Stored.of(self._files, name, data)
        self.classes: list[dict[str, Any]] = data.get("classes") or _classes_of_result(self._files)
        self.downsample = int(data["grid"]["downsample"])
        """l0 px along the side of a label px."""
        self.size = Size(**data["grid"]["label_size"])
        """Label px."""
        self.patch_px = int(data["grid"]["slices_per_side"]) * 512
        self.patches = self.size.tiles(self.patch_px)
        """Columns and rows of patches."""
        self._planned = tuple(patch["index"] for patch in data["patches"])
        self._folder = PatchFolder(self._map.patches, self.patches.pixels)
        self._growing = None if self._succeeded else _growing(data, self._folder, self._map.reduce)
        self._stored: StoredLabels | None = None
        self._stored_ns = 0

    @property
    def is_current(self) -> bool:
        """Whether the job is still there and has not been planned anew."""
        return self._plan_ns is not None and _modified_ns(self._files.plan) == self._plan_ns

    def coverage(self, *, look: bool = False) -> Coverage:
        """Return how far the label map is filled; `look` looks even if that was done just now."""
        if self._finished() is None:
            patches = self._folder.look() if look else self._folder.stored()
            return Coverage(f"{self._plan_ns:x}", f"{self._plan_ns:x}-{len(patches)}", patches, False)
        seen = self._folder.stored()
        rest = {index: self._stored_ns for index in self._planned if index not in seen}
        return Coverage(f"{self._plan_ns:x}", f"{self._stored_ns:x}", {**seen, **rest}, True)

    def tile(self, level: int, column: int, row: int) -> bytes | None:
        """Return a tile, 512 x 512 px of a byte, as zlib bytes; None where all is 0.

        Raises:
            JobNotFoundError: the job was deleted.
            LabelStoreError: a stored patch is damaged.
        """
        try:
            return self._current().encoded(level, column, row)
        except (LabelStoreError, FileNotFoundError) as error:
            if not self.is_current:
                raise JobNotFoundError(self._id) from error
            # The patches go when the pyramids are written, which may have been just now.
            if self._finished() is None:
                raise
            return self._current().encoded(level, column, row)

    def tile_version(self, level: int, column: int, row: int) -> str:
        """Return what changes whenever this tile may have changed."""
        labels = self._current()
        if isinstance(labels, StoredLabels):
            return f"{self._stored_ns:x}"
        stored = self._folder.stored()
        under = tuple((index, stored[index]) for index in labels.patches_under(level, column, row))
        return f"{self._plan_ns:x}-{hash(under) & 0xFFFF_FFFF_FFFF_FFFF:x}"

    def _current(self) -> StoredLabels | GrowingLabels:
        found = self._finished() or self._growing
        assert found is not None, "a job that has succeeded has a pyramid"
        return found

    def _finished(self) -> StoredLabels | None:
        """Return the finished pyramid; None while there is none of this plan."""
        if self._stored is None:
            written_ns = _modified_ns(self._map.pyramid)
            # An older one was left by an earlier plan.
            if self._succeeded or (written_ns and self._plan_ns and written_ns >= self._plan_ns):
                self._stored_ns = written_ns or 0
                self._stored = StoredLabels(self._map.pyramid, self._map.reduce)
        return self._stored


class JobLabelsCache:
    """Tiles of the jobs that were looked at last. Thread-safe."""

    def __init__(self, queue: JobClient) -> None:
        self._queue = queue
        self._lock = threading.Lock()
        self._known: OrderedDict[tuple[str, MapName], JobLabels] = OrderedDict()

    def get(self, job_id: str, name: MapName = "labels") -> JobLabels:
        """Return the tiles of a map of a job. Asks the queue only when the job is new here, or changed.

        Raises:
            JobNotFoundError: there is no such job.
            ResultNotReadyError: its grid is not known yet.
            ResultFileNotFoundError: it keeps no such map.
        """
        with self._lock:
            known = self._known.get((job_id, name))
            if known is not None:
                self._known.move_to_end((job_id, name))
        if known is not None and known.is_current:
            return known
        return self.of(self._queue.get(job_id), name)

    def of(self, job: Job, name: MapName = "labels") -> JobLabels:
        """Return the tiles of a map of a job whose record is at hand.

        Raises:
            ResultNotReadyError: its grid is not known yet.
            ResultFileNotFoundError: it keeps no such map.
        """
        with self._lock:
            known = self._known.get((job.id, name))
            if known is not None and known.is_current:
                return known
            # Under the lock: two requests would read the same index twice, and paste patches twice.
            found = self._known[job.id, name] = JobLabels(job, name)
            self._known.move_to_end((job.id, name))
            while len(self._known) > MAX_JOBS:
                self._known.popitem(last=False)
            return found


def _modified_ns(path: Path) -> int | None:
    try:
        return path.stat().st_mtime_ns
    except (FileNotFoundError, NotADirectoryError):
        return None


def _read_plan(job: Job) -> dict[str, Any]:
    try:
        data: dict[str, Any] = json.loads(job.files.plan.read_text(encoding="ascii"))
    except (FileNotFoundError, NotADirectoryError) as error:
        coming = not job.state.is_final
        why = "Ask again when it has been planned." if coming else "It ended before it was planned."
        raise ResultNotReadyError(
            f"The job is {job.state} and has no tiles yet. {why}", is_coming=coming
        ) from error
    return data


def _growing(data: Mapping[str, Any], folder: PatchFolder, reduce: Reduction) -> GrowingLabels:
    try:
        return GrowingLabels(folder, Plan.from_json(data).grid, reduce)
    except PlanFormatError as error:
        raise ResultNotReadyError(
            "The job was begun by another version of this software. Run it again."
        ) from error


def _classes_of_result(files: JobFiles) -> list[dict[str, Any]]:
    """Return the classes of a finished job whose plan does not have them; none while there is no result."""
    try:
        classes = json.loads(files.result.read_text(encoding="ascii"))["classes"]
    except FileNotFoundError:
        return []
    return [{name: label[name] for name in ("value", "name", "colour")} for label in classes]
