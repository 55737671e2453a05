"""docs/client.md: every command and every line of Python on it is run."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests import ROOT
from wsi.phantom import PhantomFiles

from .conftest import RunningService

pytestmark = pytest.mark.e2e

PAGE = (ROOT / "docs" / "client.md").read_text(encoding="utf-8")
URL = "http://127.0.0.1:8000"


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)


def test_the_page_does_what_it_says(
    service: RunningService, small_phantom: PhantomFiles, slide_root: Path
) -> None:
    (slide_root / "slides").mkdir()
    shutil.copy(small_phantom.slide, slide_root / "slides" / "case-17.tif")
    environment = {**os.environ, "DAREFINE_URL": service.url, "PYTHONPATH": str(ROOT)}

    def run(*command: str) -> str:
        done = subprocess.run(
            command, cwd=slide_root, env=environment, capture_output=True, text=True, timeout=120, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    said = []
    for line in "".join(blocks("bash")).splitlines():
        program, *arguments = line.split()
        assert program == "darefine"
        said.append(run(sys.executable, "-m", "darefine", *arguments))
    assert len(said) == 5
    assert "case-17" in said[2]
    assert "case-17.tif" in said[3]
    for folder in ("results", "in-place"):
        assert (slide_root / folder / "case-17.tiny.overlay.tif").stat().st_size > 0
        assert len((slide_root / folder / "summary.csv").read_text().splitlines()) == 2

    python = "".join(blocks("python"))
    assert URL in python
    printed = run(sys.executable, "-c", python.replace(URL, service.url)).splitlines()
    assert printed[0].startswith("tiny ")
    assert "succeeded 100%" in printed
    assert "from-python/case-17.tiny.overlay.tif" in printed
    assert "422 model-unknown" in printed
    assert printed[-1] == "cancelled"
