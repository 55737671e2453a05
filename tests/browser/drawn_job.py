"""Jobs whose labels a test draws, with files as the engine leaves them."""

import json
import shutil
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import httpx
import numpy as np
import tifffile
from numpy.typing import NDArray

from workers.jobs import Problem
from workers.queue.lease import JobLease, Ownership
from wsi.geometry import Rect, Size
from wsi.grid import Grid, InputGeometry, make_grid
from wsi.palette import LabelClass, Palette
from wsi.plan import make_plan
from wsi.tissue import TissueMask
from wsi.writing.label_store import LabelStore
from wsi.writing.pyramid import write_label_pyramids

CARD = {
    "name": "squares",
    "version": "1",
    "title": "Squares",
    "description": "For tests.",
    "intended_use": "Tests.",
    "phantom": True,
    "classes": [
        {"value": 1, "name": "one", "colour": [0, 0, 0]},
        {"value": 2, "name": "two", "colour": [255, 0, 0]},
        {"value": 3, "name": "three", "colour": [0, 255, 0]},
    ],
    "input": {"mpp": 0.934, "context_ratio": 5, "slices_per_side": 2, "halo_px": 64},
}
OTHER = {**CARD, "name": "other", "title": "Other squares"}


@dataclass(frozen=True)
class Service:
    """The running API, and what a worker has of the queue behind it."""

    http: httpx.Client
    lease: JobLease
    data_dir: Path
    queue_url: str

    @property
    def url(self) -> str:
        """Address of the API, without a slash at the end."""
        return str(self.http.base_url).rstrip("/")


CLASSES = tuple(LabelClass(c["value"], c["name"], tuple(c["colour"])) for c in CARD["classes"])
WIDTH, HEIGHT = 5120, 3072
SQUARE = Rect(1500, 700, 1024, 1024)
"""Where the slide has a square, level-0 px."""
PINK, MAGENTA = (236, 200, 220), (200, 0, 200)


def write_square_slide(path: Path, mpp: float | None, seed: int = 0) -> Path:
    """A pink slide with a magenta square; another one for another `seed`. Without `mpp` it says no size."""
    pixels = np.empty((HEIGHT, WIDTH, 3), np.uint8)
    pixels[:] = PINK
    pixels[SQUARE.y : SQUARE.bottom, SQUARE.x : SQUARE.right] = MAGENTA
    pixels[0, 0] = seed  # slides of the same content have the same id
    resolution = {} if mpp is None else {"resolution": (1e4 / mpp, 1e4 / mpp), "resolutionunit": "CENTIMETER"}
    tifffile.imwrite(
        path, pixels, tile=(512, 512), photometric="rgb", compression="adobe_deflate",
        **resolution,
    )  # fmt: skip
    return path


class DrawnJob:
    """A job on a square slide; the test is its worker."""

    def __init__(
        self,
        service: Service,
        slide_id: str,
        mpp: float = 0.467,
        model: str = "squares",
        outputs: tuple[str, ...] = (),
    ) -> None:
        self.service, self.slide_id = service, slide_id
        geometry = InputGeometry(**CARD["input"])
        self.grid: Grid = make_grid(Size(WIDTH, HEIGHT), mpp, geometry)
        answer = service.http.post(
            "/v1/jobs", json={"slide_id": slide_id, "model": model, "outputs": outputs, "force": True}
        )
        assert answer.status_code == 202, answer.text
        self.id: str = answer.json()["id"]
        self.folder = service.data_dir / "jobs" / self.id
        self.store = LabelStore(self.folder / "patches", self.grid)
        self.labels: NDArray[np.uint8] = np.ones(
            (self.grid.label_size.height, self.grid.label_size.width), np.uint8
        )
        n = self.grid.downsample
        self.labels[SQUARE.y // n : SQUARE.bottom // n, SQUARE.x // n : SQUARE.right // n] = 2

    def start(self) -> None:
        """Begin as the engine does, with every patch planned."""
        self.service.lease.start(self.id, 1, "tester")
        plan = make_plan(self.grid, TissueMask.everywhere(self.grid, Rect.of(self.grid.slide)))
        self.folder.mkdir(parents=True, exist_ok=True)
        told = {"run": {}, "classes": [asdict(label) for label in CLASSES], **plan.to_json()}
        (self.folder / "plan.json").write_text(json.dumps(told))

    def finish_patch(self, index: int) -> None:
        """Store the labels of a patch."""
        row, column = divmod(index, self.grid.patch_columns)
        side = self.grid.patch_px
        padded = np.zeros((side, side), np.uint8)
        part = self.labels[row * side : (row + 1) * side, column * side : (column + 1) * side]
        padded[: part.shape[0], : part.shape[1]] = part
        self.store.write(index, padded)

    def finish(self) -> None:
        """Finish the patches that lack, write pyramids and result, and succeed."""
        for index in range(self.grid.patch_columns * self.grid.patch_rows):
            self.finish_patch(index)
        write_label_pyramids(
            self.store, self.grid, Palette(CLASSES), {},
            labels=self.folder / "labels.tif", overlay=self.folder / "overlay.tif",
        )  # fmt: skip
        shutil.rmtree(self.folder / "patches")
        (self.folder / "result.json").write_text(json.dumps(self.result()))
        self.service.lease.succeed(self.id, 1)

    def fail(self, detail: str) -> None:
        """Fail with these words."""
        self.service.lease.fail(self.id, 1, Problem("slide-unreadable", "Slide unreadable", detail))

    def confirm_cancel(self) -> None:
        """Hear of the wish to cancel with a heartbeat, as a worker does, and stop."""
        deadline = time.monotonic() + 10
        while self.service.lease.heartbeat(self.id, 1) is not Ownership.CANCEL_REQUESTED:
            assert time.monotonic() < deadline, "nobody wants to cancel"
            time.sleep(0.05)
        self.service.lease.confirm_cancel(self.id, 1)

    def result(self) -> dict[str, object]:
        """A result document such as the engine writes."""
        counts = np.bincount(self.labels.ravel(), minlength=4)
        mm2 = (self.grid.label_mpp / 1000) ** 2
        return {
            "files": {
                name: {"bytes": (self.folder / name).stat().st_size, "sha256": "ab" * 32}
                for name in ("overlay.tif", "labels.tif")
            },
            "classes": [
                {**asdict(one), "pixels": int(counts[one.value]), "area_mm2": float(counts[one.value] * mm2),
                 "fraction": float(counts[one.value] / counts[1:].sum())}
                for one in CLASSES
            ],
            "slide": {"name": "square.tif", "vendor": "generic-tiff", "width": WIDTH, "height": HEIGHT},
            "software": "darefine 0",
            "model": {"name": "squares", "version": "1", "sha256": "cd" * 32},
            "mpp": {"slide": self.grid.slide_mpp, "source": "tiff-resolution", "label": self.grid.label_mpp,
                    "downsample": self.grid.downsample, "resampled": False},
            "parameters": {"mpp": None, "halo_px": 64, "precision": None, "tissue": True},
            "device": "cpu", "dtype": "fp32", "patches": 1, "megapixels": 15.7, "megapixels_per_second": 9.0,
            "stage_seconds": {"plan": 0.1, "segment": 1.5, "pyramid": 0.2},
        }  # fmt: skip


def upload(service: Service, path: Path) -> str:
    """Upload a slide; return its id."""
    answer = service.http.put("/v1/slides", params={"filename": path.name}, content=path.read_bytes())
    assert answer.status_code == 201, answer.text
    slide_id: str = answer.json()["id"]
    return slide_id
