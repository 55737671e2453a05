"""Files of the browser page: their version, and what is served at all."""

import gzip
from pathlib import Path

from service.assets import Assets


def write_viewer(folder: Path) -> Path:
    """A viewer of one page, one module, and a file of a type that is not served."""
    (folder / "js").mkdir(parents=True)
    (folder / "index.html").write_text('<script src="/assets/js/main.js"></script>')
    (folder / "js" / "main.js").write_text('import "./other.js";')
    (folder / "package-lock.sha256").write_text("secret")
    return folder


def test_pages_address_files_by_a_version_that_changes_with_any_of_them(tmp_path: Path) -> None:
    folder = write_viewer(tmp_path / "viewer")
    first, again = Assets.load(folder), Assets.load(folder)
    assert first.version == again.version
    assert (
        first.pages["index.html"].content.decode()
        == f'<script src="/assets/{first.version}/js/main.js"></script>'
    )
    (folder / "js" / "main.js").write_text('import "./another.js";')
    changed = Assets.load(folder)
    assert changed.version != first.version
    assert changed.pages["index.html"].etag != first.pages["index.html"].etag


def test_only_known_types_are_served_and_pages_are_no_assets(tmp_path: Path) -> None:
    assets = Assets.load(write_viewer(tmp_path / "viewer"))
    assert set(assets.files) == {"js/main.js"}
    assert set(assets.pages) == {"index.html"}


def test_compressed_content_is_the_content(tmp_path: Path) -> None:
    asset = Assets.load(write_viewer(tmp_path / "viewer")).files["js/main.js"]
    assert gzip.decompress(asset.compressed) == asset.content
