"""Hold the files of the browser page in memory, compressed, under one version made of their content."""

import gzip
import hashlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

VIEWER = Path(__file__).parent / "viewer"
"""The page's HTML, modules and styles, and in `vendor/` the libraries that the build hook installs."""

TYPES = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
}
"""Media types of what is served; other files of the folder are not."""

PLACEHOLDER = b"/assets/"
"""What addresses of assets begin with in HTML; the version is put behind it."""


@dataclass(frozen=True)
class Asset:
    """A file as it is sent."""

    content: bytes
    media_type: str

    @cached_property
    def compressed(self) -> bytes:
        """The content as gzip; the same bytes each time."""
        return gzip.compress(self.content, compresslevel=7, mtime=0)

    @cached_property
    def etag(self) -> str:
        """Strong entity tag of the content."""
        return f'"{hashlib.sha256(self.content).hexdigest()[:24]}"'


@dataclass(frozen=True)
class Assets:
    """Files by their path below the viewer's folder, such as `js/main.js`, and the pages that load them."""

    version: str
    files: dict[str, Asset]
    pages: dict[str, Asset]

    @classmethod
    def load(cls, folder: Path = VIEWER) -> "Assets":
        """Read every file of a known type below `folder`.

        Pages (HTML at the top) get the version into the addresses of what they load, and modules import each
        other by relative addresses, so every address changes when any file does.
        """
        files = {
            path.relative_to(folder).as_posix(): Asset(path.read_bytes(), TYPES[path.suffix])
            for path in sorted(folder.rglob("*"))
            if path.suffix in TYPES
        }
        digest = hashlib.sha256()
        for name, asset in files.items():
            digest.update(f"{name}\0{len(asset.content)}\0".encode() + asset.content)
        version = digest.hexdigest()[:16]
        pages = {
            name: Asset(
                asset.content.replace(PLACEHOLDER, PLACEHOLDER + version.encode() + b"/"), asset.media_type
            )
            for name, asset in files.items()
            if name.endswith(".html")
        }
        return cls(version, {name: asset for name, asset in files.items() if name not in pages}, pages)
