"""README.md: the lines for curl do what is written behind them."""

import re
import shlex
import subprocess
from pathlib import Path

from tests import ROOT

from .conftest import OVERLAY, Finisher, write_slide


def test_the_lines_for_curl(url: str, finisher: Finisher, tmp_path: Path) -> None:
    write_slide(tmp_path / "slide.svs", seed=77)
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    sends, asks, downloads = re.findall(r"^curl .*?(?=\s+#|$)", readme, re.MULTILINE)

    def curl(line: str, job_id: str = "") -> str:
        command = shlex.split(line.replace("http://127.0.0.1:8000", url).replace("<id>", job_id))
        done = subprocess.run(
            [*command, "-sS", "--fail"], cwd=tmp_path, capture_output=True, text=True, check=True, timeout=60
        )
        return done.stdout

    sent = curl(sends)
    assert "HTTP/1.1 202" in sent
    found = re.search(r"^location: /v1/jobs/(\w+)", sent, re.MULTILINE | re.IGNORECASE)
    assert found is not None
    job_id = found[1]
    for _ in range(100):
        if '"succeeded"' in curl(asks, job_id):
            break
    curl(downloads, job_id)
    assert (tmp_path / "overlay.tif").read_bytes() == OVERLAY
