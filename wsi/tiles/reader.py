"""Read tiles of slides in a process of its own, which may die of a slide without harm to others.

`python -m wsi.tiles.reader PARENT_PID OPEN_SLIDES FOLDER...` reads slides that lie in these folders. It
prints an empty JSON object when it is ready. Then it answers each line of standard input, a request as JSON,
with a line of JSON, `{"bytes": n}` and those n bytes of JPEG, or `{"error": "..."}`. It ends with its input
or its parent.
"""

import json
import os
import sys
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO

from ..confinement import confine
from ..die_with_parent import die_with_parent
from ..errors import WsiError
from ..reading.inspect import limit_memory
from ..reading.slide import open_slide
from .slide_tiles import SlideTiles


@dataclass(frozen=True, slots=True)
class TileRequest:
    """A request to a reader: one tile of a slide."""

    slide_id: str
    """What the slide is known by: other bytes under the same path have another id."""
    path: str
    level: int
    column: int
    row: int

    def to_line(self) -> bytes:
        """Return the request as a line of JSON."""
        return json.dumps(asdict(self)).encode("ascii") + b"\n"

    def read_from(self, tiles: SlideTiles) -> bytes:
        """Return what is asked for."""
        return tiles.tile(self.level, self.column, self.row)


@dataclass(frozen=True, slots=True)
class ThumbnailRequest:
    """A request to a reader: the whole slide, small."""

    slide_id: str
    path: str
    side_px: int

    def to_line(self) -> bytes:
        """Return the request as a line of JSON."""
        return json.dumps(asdict(self)).encode("ascii") + b"\n"

    def read_from(self, tiles: SlideTiles) -> bytes:
        """Return what is asked for."""
        return tiles.thumbnail(self.side_px)


Request = TileRequest | ThumbnailRequest


class OpenSlides:
    """The slides read last, held open: opening one takes longer than reading a tile."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._open: OrderedDict[str, SlideTiles] = OrderedDict()

    def answer(self, request: Request) -> bytes:
        """Return the JPEG asked for.

        Raises:
            WsiError: the slide cannot be read there.
        """
        tiles = self._open.pop(request.slide_id, None)
        if tiles is None:
            while len(self._open) >= self._limit:
                self._open.popitem(last=False)[1].close()
            tiles = SlideTiles(open_slide(Path(request.path)))
        self._open[request.slide_id] = tiles
        return request.read_from(tiles)


def serve(lines: Iterable[bytes], answers: IO[bytes], slides: OpenSlides) -> None:
    """Answer requests until there are no more. An unexpected error ends the process, as a crash would."""
    answers.write(b"{}\n")
    answers.flush()
    for line in lines:
        fields = json.loads(line)
        request: Request = ThumbnailRequest(**fields) if "side_px" in fields else TileRequest(**fields)
        try:
            jpeg = slides.answer(request)
        except (WsiError, OSError) as error:
            answers.write(json.dumps({"error": str(error)}).encode("ascii") + b"\n")
        else:
            answers.write(json.dumps({"bytes": len(jpeg)}).encode("ascii") + b"\n" + jpeg)
        answers.flush()


def main(arguments: list[str]) -> int:
    """Serve the parent until it closes the pipe or ends."""
    die_with_parent(int(arguments[0]))()
    limit_memory()
    confine(readable=map(Path, arguments[2:]))
    # C libraries may print: standard output is the pipe, and becomes standard error for everybody else.
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    serve(sys.stdin.buffer, answers, OpenSlides(int(arguments[1])))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
