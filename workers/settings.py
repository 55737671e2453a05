"""Read the settings of workers and supervisor once, at the edge, from `DAREFINE_*` environment variables."""

import os
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AliasChoices, Field, PositiveInt, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from wsi.log_setup import LogFormat, LogLevel

PREFIX = "DAREFINE_"


def default_data_dir() -> Path:
    """Return `$XDG_DATA_HOME/darefine`, by default `~/.local/share/darefine`."""
    home = os.environ.get("XDG_DATA_HOME") or "~/.local/share"
    return Path(home).expanduser() / "darefine"


def default_weights_dir() -> Path:
    """Return the folder of the demo's model cards: in an installed wheel, or else in a checkout."""
    packages = Path(__file__).resolve().parents[1]
    installed = packages / "darefine" / "weights"
    return installed if installed.is_dir() else packages / "weights"


class LogSettings(BaseSettings):
    """Settings of what every process logs."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        frozen=True,
        env_ignore_empty=True,
        populate_by_name=True,
        use_attribute_docstrings=True,
    )

    log_level: LogLevel = "INFO"
    """Lowest level that every process logs to standard error."""

    log_format: LogFormat = "text"
    """Lines of text, or of JSON: an object each, with the job's id."""


class WorkerSettings(LogSettings):
    """Settings of supervisor and workers; passed to them, never looked up."""

    data_dir: Path = Field(default_factory=default_data_dir)
    """Folder for jobs, slides and the embedded queue. API and workers must see it under the same path."""

    redis_url: str | None = Field(
        default=None, validation_alias=AliasChoices(f"{PREFIX}REDIS_URL", "REDIS_URL")
    )
    """The queue (redis://, rediss:// or unix://). None: an embedded Valkey under `data_dir`."""

    queue_dir: Path = Field(default_factory=lambda data: data["data_dir"] / "queue")
    """Folder of the embedded queue, on a disk of this machine: no network file system."""

    weights_dir: Path = Field(default_factory=default_weights_dir)
    """Folder of model cards (*.json) with their weights beside them."""

    default_model: str | None = None
    """Name of the model to load at start. None: the first card in file name order."""

    device: str = "auto"
    """Torch device; several, separated by commas, are dealt out to the workers in turn: `cuda:0,cuda:1`."""

    precision: Literal["auto", "fp32", "bf16", "fp16", "int8"] = "auto"
    """Number format of the network. `auto` is what the device is fast at, and never int8, which is asked for
    by name (docs/int8.md)."""

    backend: Literal["auto", "torch", "openvino"] = "auto"
    """What computes networks. `auto`: torch, and OpenVINO for int8."""

    batch_size: Literal["auto"] | PositiveInt = "auto"
    """Slices in one pass of the network. `auto`: 4 on a CPU, on a GPU what its memory holds, at most 32."""

    compile: bool = False
    """Whether torch.compile makes the networks faster; needs a C++ compiler, and minutes at first."""

    threads: int | None = Field(default=None, ge=1)
    """CPU threads of one engine process. None: torch's choice."""

    read_threads: Literal["auto"] | PositiveInt = "auto"
    """Threads that decode a slide ahead of the network; half as many store labels behind it. `auto`: 2, for a
    GPU half of the cores that each worker has, up to 8."""

    models_in_memory: int = Field(default=2, ge=1)
    """Networks that one engine process keeps loaded."""

    workers: int = Field(default=1, ge=1, le=64)
    """Worker processes under one supervisor; one a GPU is right."""

    lease_s: float = Field(default=8.0, gt=0)
    """Seconds after a worker's last sign of life until its job is given to another."""

    heartbeat_s: float = Field(default=1.0, gt=0)
    """Seconds between signs of life; also how long a cancel takes to be seen."""

    stall_timeout_s: float = Field(default=600.0, gt=0)
    """Seconds without news from a running pipeline until its process is killed and the job is tried again."""

    cancel_grace_s: float = Field(default=5.0, ge=0)
    """Seconds a cancelled pipeline has to stop by itself before its process is killed."""

    stop_grace_s: float = Field(default=8.0, gt=0)
    """Seconds a worker or the API has to end after SIGTERM before it is killed."""

    max_crashes: int = Field(default=2, ge=1)
    """Crashes of the engine process without a newly finished patch in between after which a job fails."""

    max_losses: int = Field(default=10, ge=1)
    """Workers lost without a newly finished patch in between after which a job fails.

    More than `max_crashes`, for a lost worker is seldom the job's fault.
    """

    lost_after_s: float = Field(default=3.0, gt=0)
    """Seconds a queued job may be missing from the queue before it is queued again."""

    prepare_ahead: bool = True
    """Whether the tissue mask of the next slide is made, at low CPU priority, while a job runs, and its files
    are read into the system's cache."""

    sandbox: Literal["auto", "on", "off"] = "auto"
    """Whether the process that decodes slides may use no network, start no program and open few files.

    `auto`: where the platform can, and there is no NVIDIA GPU, whose driver does not start in it. `on`:
    everywhere; a worker that cannot have it does not start.
    """

    slide_roots: Annotated[tuple[Path, ...], NoDecode] = ()
    """Folders of slides registered in place, separated by `:`, as the API has them; a sandbox opens no
    others."""

    slide_names: bool = True
    """Whether slides' file names, often case numbers, stand in `result.json` and logs; else their ids do."""

    @field_validator("slide_roots", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        """Split the paths of an environment variable, separated as those of PATH are."""
        return tuple(filter(None, value.split(os.pathsep))) if isinstance(value, str) else value

    @field_validator("data_dir", "queue_dir", "weights_dir")
    @classmethod
    def absolute(cls, path: Path) -> Path:
        """Resolve a path, so that it means the same in every process, whatever its working directory."""
        return path.expanduser().resolve()

    @property
    def jobs_dir(self) -> Path:
        """Folder of the jobs' own folders."""
        return self.data_dir / "jobs"

    @property
    def slides_dir(self) -> Path:
        """Folder of the stored slides' own folders."""
        return self.data_dir / "slides"

    @property
    def int8_dir(self) -> Path:
        """Folder of quantised networks."""
        return self.data_dir / "int8"

    def device_of(self, worker: int) -> str:
        """Return the device of worker number `worker`, counted from 0."""
        devices = [name.strip() for name in self.device.split(",")]
        return devices[worker % len(devices)]

    def environment(self) -> dict[str, str]:
        """Return the environment variables that give these settings back."""
        values = self.model_dump(mode="json", exclude_none=True)
        values["slide_roots"] = os.pathsep.join(values["slide_roots"])
        return {f"{PREFIX}{name.upper()}": str(value) for name, value in values.items()}
