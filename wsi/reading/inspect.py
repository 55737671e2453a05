"""Inspect an untrusted slide file in a process that may crash.

`python -m wsi.reading.inspect PATH` prints one JSON object: a SlideInfo, or {"error": {"type", "message"}}.
"""

import itertools
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..confinement import confine, folders_of
from ..errors import SlideLimitError, SlideUnreadableError, WsiError
from ..geometry import Rect, Size
from .slide import open_slide
from .slide_info import SlideInfo

MEMORY_LIMIT_BYTES = 8 * 2**30
"""Address space of a process that opens an untrusted file: asking for more kills it instead of the host."""

_TRIAL_PX = 512
_TRIALS = (0.0, 0.5, 1.0)
"""Places along each side where a square of _TRIAL_PX is decoded, and everything is at the coarsest level that
is at most a screen large: damage in between shows when the job comes there."""

_OVERVIEW_PX = 2048
_ERRORS: dict[str, type[WsiError]] = {kind.__name__: kind for kind in (SlideUnreadableError, SlideLimitError)}


def inspect_slide(path: Path, timeout_s: float = 60) -> SlideInfo:
    """Open a slide (file or folder) in a process of its own, decode samples of it, and return its facts.

    The caller survives a crash of the decoder and never waits longer than `timeout_s`.

    Raises:
        SlideUnreadableError: the file is no slide or is damaged, or the decoder crashed or took too long.
        SlideLimitError: the file claims more than should be decoded.
    """
    command = [sys.executable, "-m", "wsi.reading.inspect", str(path.absolute())]
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            timeout=timeout_s,
            env=child_environment(),
            check=False,
            stdin=subprocess.DEVNULL,
        )
    except subprocess.TimeoutExpired as error:
        raise SlideUnreadableError(
            f"{path.name} could not be opened within {timeout_s:g} s. It is damaged, or the storage is slow: "
            "send it again."
        ) from error
    answer = _answer(done.stdout)
    if answer is None:
        raise SlideUnreadableError(
            f"The decoder crashed on {path.name} ({_cause(done.returncode)}). It is damaged: send it again, "
            "or export it anew."
        )
    if "error" in answer:
        raise _ERRORS.get(answer["error"]["type"], SlideUnreadableError)(answer["error"]["message"])
    return SlideInfo.from_json(answer)


def child_environment() -> dict[str, str]:
    """Return the environment of a child that must find this package wherever its parent did."""
    return {**os.environ, "PYTHONPATH": os.pathsep.join(entry for entry in sys.path if entry)}


def _answer(stdout: bytes) -> dict[str, Any] | None:
    """Return the JSON object that the process printed; None when there is none."""
    # C libraries may print as well; the answer is the last line.
    lines = stdout.decode(errors="replace").splitlines()
    try:
        answer = json.loads(lines[-1])
    except (IndexError, ValueError):
        return None
    return answer if isinstance(answer, dict) else None


def _cause(returncode: int) -> str:
    if returncode < 0:
        return signal.Signals(-returncode).name
    return f"exit status {returncode}"


def _inspect(path: Path) -> dict[str, Any]:
    try:
        with open_slide(path) as slide:
            for region, downsample in _samples(slide.info):
                slide.read_region(region, downsample)
            return slide.info.to_json()
    except WsiError as error:
        return {"error": {"type": type(error).__name__, "message": str(error)}}


def _samples(info: SlideInfo) -> Iterator[tuple[Rect, int]]:
    """Yield what is decoded on trial: regions, l0 px, and their down-sampling."""
    free = Size(max(0, info.size.width - _TRIAL_PX), max(0, info.size.height - _TRIAL_PX))
    for across, down in itertools.product(_TRIALS, _TRIALS):
        yield Rect(int(across * free.width), int(down * free.height), _TRIAL_PX, _TRIAL_PX), 1
    coarsest = int(info.level_downsamples[-1])
    if coarsest > 1 and max(info.size.width, info.size.height) <= coarsest * _OVERVIEW_PX:
        width, height = info.size.width // coarsest, info.size.height // coarsest
        yield Rect(0, 0, width * coarsest, height * coarsest), coarsest


def limit_memory(most: int = MEMORY_LIMIT_BYTES) -> None:
    """Hold this process to `most` bytes of address space. Does nothing on Windows."""
    if sys.platform != "win32":
        import resource  # noqa: PLC0415  (there is no such module on Windows)

        _soft, hard = resource.getrlimit(resource.RLIMIT_AS)
        limit = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(resource.RLIMIT_AS, (limit, hard))


def main(arguments: list[str]) -> int:
    """Inspect the one path given, print the answer and return the exit status."""
    path = Path(arguments[0])
    limit_memory()
    confine(readable=folders_of(path))
    sys.stdout.write(json.dumps(_inspect(path)) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
