"""`darefine demo`, as a new user runs it, on a smaller slide, of 2 x 2 patches."""

import re
import signal
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
from PIL import Image

pytestmark = pytest.mark.e2e


def test_the_demo_shows_that_the_patch_tells_what_the_slice_cannot(tmp_path: Path) -> None:
    out = tmp_path / "out"
    command = [sys.executable, "-m", "darefine", "demo", "--out", str(out), "--size", "10240", "--keep"]
    demo = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert demo.stdout is not None
        said = []
        for line in demo.stdout:
            said.append(line)
            if "browser" in line:
                break
        found = re.search(r"(http://127[.]0[.]0[.]1:\d+)/#job=(\w+)&with=(\w+)", said[-1])
        assert found, "".join(said)
        url, *jobs = found.groups()
        assert "darefine" in httpx.get(url).text
        assert [httpx.get(f"{url}/v1/jobs/{job}/tiles").json()["finished"] for job in jobs] == [True, True]
        demo.send_signal(signal.SIGINT)
        said.append(demo.communicate(timeout=60)[0])
        assert demo.returncode == 0, "".join(said)
    finally:
        demo.kill()
        demo.wait()
    with pytest.raises(httpx.ConnectError):
        httpx.get(url)
    scores = dict(
        re.findall(r"(slice and patch|slice alone): MIoU against the truth ([\d.]+)", "".join(said))
    )
    # On this slide 0.72 and 0.32: chance in its borders may take some, but not the patch's worth.
    assert float(scores["slice and patch"]) > 0.6
    assert float(scores["slice alone"]) < 0.4
    for model in ("phantom-resnet18-centred", "phantom-resnet18-single"):
        assert {path.name for path in (out / model).iterdir()} == {"overlay.tif", "labels.tif", "result.json"}
    with Image.open(out / "demo.png") as picture:
        assert picture.width > 4 * 500
