"""Read the settings of the API process from `DAREFINE_*` environment variables."""

import os
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AliasChoices, Field, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from wsi.log_setup import LogFormat, LogLevel

GIGABYTE = 10**9


class ServiceSettings(BaseSettings):
    """Settings of the API process, read once and passed to `create_app`."""

    model_config = SettingsConfigDict(
        env_prefix="DAREFINE_", frozen=True, populate_by_name=True, use_attribute_docstrings=True
    )

    data_dir: Path
    """Folder for slides and results. Workers must see it under the same path. `darefine serve` sets it."""

    redis_url: str = Field(
        default="redis://127.0.0.1:6379/0", validation_alias=AliasChoices("DAREFINE_REDIS_URL", "REDIS_URL")
    )
    """URL of the queue server; `darefine serve` sets it to its embedded one."""

    slide_roots: Annotated[tuple[Path, ...], NoDecode] = ()
    """Folders whose slides may be registered in place, separated by `:`. None by default."""

    max_slide_bytes: int = Field(default=64 * GIGABYTE, gt=0)
    """Largest upload, in bytes."""

    upload_idle_s: float = Field(default=60, gt=0)
    """Seconds without a byte after which an upload's request is ended."""

    upload_hours: float = Field(default=24, gt=0)
    """Hours without a byte after which an upload that can be resumed is removed."""

    slide_names: bool = True
    """Whether slides' file names, often case numbers, are used on disk and in messages. (Workers obey it in
    results and logs.)"""

    inspect_timeout_s: float = Field(default=60, gt=0)
    """How long inspecting a new slide may take, in seconds."""

    inspections: int = Field(default_factory=lambda: os.cpu_count() or 1, ge=1)
    """New slides inspected (and archives unpacked) at once; further ones wait. One a core by default."""

    conversions: int = Field(default=1, ge=1)
    """Result files made on request (polygons) at once, each in a process of its own; further ones wait."""

    tile_readers: int = Field(default=2, ge=1)
    """Processes that read slides for viewers, one tile at a time each."""

    tile_open_slides: int = Field(default=8, ge=1)
    """Slides that each of them holds open."""

    tile_timeout_s: float = Field(default=20, gt=0)
    """How long reading one tile may take, in seconds, until the slide is left alone."""

    tile_quarantine_s: float = Field(default=600, gt=0)
    """For how long a slide that killed or stalled its readers is left alone, in seconds."""

    require_key: bool = False
    """Whether calls from this machine need a key too. Set it behind a proxy, and where others may log in."""

    allowed_hosts: Annotated[tuple[str, ...], NoDecode] = ()
    """Names under which clients reach this service, separated by commas, besides addresses, loopback and the
    machine's own name; `*.lab.org` for all that end so, `*` for any."""

    cors_origins: Annotated[tuple[str, ...], NoDecode] = ()
    """Origins whose pages may call this service with a key, such as https://lab.org, separated by commas."""

    metrics: Literal["key", "open", "off"] = "key"
    """Who gets /metrics: who has a key (and this machine), everybody, or nobody."""

    log_level: LogLevel = "INFO"
    """Lowest level that every process logs to standard error."""

    log_format: LogFormat = "text"
    """Lines of text, or of JSON: an object each, with the job's id."""

    webhook_networks: Annotated[tuple[IPv4Network | IPv6Network, ...], NoDecode] = ()
    """Networks that webhooks may reach though not public, such as 10.0.0.0/8, separated by commas."""

    keep_results_days: float | None = Field(default=None, gt=0)
    """Days after which a job that is over, and its results, are removed. None: never."""

    keep_slides_days: float | None = Field(default=None, gt=0)
    """Days without a job after which a slide is removed; of one registered in place only the record."""

    max_results_gb: float | None = Field(default=None, ge=0)
    """Gigabytes of results beyond which the oldest are removed."""

    max_slides_gb: float | None = Field(default=None, ge=0)
    """Gigabytes of uploaded slides beyond which those are removed that no job used for longest."""

    session_hours: float = Field(default=12, gt=0)
    """Hours until a login of the browser page ends."""

    @field_validator("allowed_hosts", "cors_origins", "webhook_networks", mode="before")
    @classmethod
    def _split_names(cls, value: object) -> object:
        """Split names separated by commas."""
        names = value.split(",") if isinstance(value, str) else None
        return value if names is None else tuple(name.strip() for name in names if name.strip())

    @field_validator("slide_roots", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        """Split the paths of an environment variable, separated as those of PATH are."""
        return tuple(filter(None, value.split(os.pathsep))) if isinstance(value, str) else value
