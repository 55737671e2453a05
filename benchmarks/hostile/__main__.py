"""Send a thousand damaged and malicious files to a running service, and count what they break.

`python -m benchmarks.hostile` (`make hostile`) mutates slides by a seed: headers, pixels, lengths, archives.
Each is uploaded; where it is taken, a job runs on it. Every one must end in a 4xx with a problem document, or
in a job that succeeds or fails with one; API and queue must never end; nothing may be left. Writes
`benchmarks/results/hostile.json` and the table of `benchmarks/README.md`; fails if any of that is not so.
"""

import signal
import sys
import tempfile
from collections import Counter
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import click
import httpx
import pyvips
import tifffile

from darefine.cli.bench import PHANTOM_SEED
from darefine.cli.progress_bar import progress_bar
from workers.bench.measure import machine
from wsi.phantom import write_phantom

from ..cards import write_tiny_card
from ..cluster import Cluster
from ..dicom_slide import write_dicom_slide
from ..options import out_option
from ..tables import write_results
from .mutants import mutants
from .sender import is_clear, outcome

SIDE_PX = 2048
LARGEST_BYTES = 4 << 20
CLIENTS = 2

PART_PX = 1024
"""Side of the OME-TIFF and the DICOM file, which are not compressed as JPEG."""

MPP = 0.5

APERIO = "Aperio Image Library|AppMag = 20|MPP = 0.5"
"""Description by which OpenSlide takes a TIFF for an Aperio slide."""


@click.command()
@click.option("--count", type=click.IntRange(min=1), default=1000, show_default=True)
@click.option("--seed", type=int, default=1, show_default=True)
@click.option(
    "--slides",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Mutate the files in this folder, too; those of at most 4 MB.",
)
@click.option("--log", type=click.Path(dir_okay=False, path_type=Path), help="Keep the service's log here.")
@out_option("hostile")
def main(count: int, seed: int, slides: Path | None, log: Path | None, out: Path | None) -> None:
    """Send them, write the results and print the table."""
    # As Ctrl-C: the service is stopped on the way out.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with tempfile.TemporaryDirectory(prefix="darefine-") as name:
        folder = Path(name)
        bases = {**own_slides(folder), **(small_files(slides) if slides else {})}
        cluster = Cluster(folder, write_tiny_card(folder), folder, log or folder / "log")
        try:
            found, broken = run(cluster, bases, count, seed)
        finally:
            cluster.stop()
        broken["processes left"] = len(cluster.orphans())
    here = machine()
    table = [["what became of them", "files"], *([what, f"{times}"] for what, times in found.most_common())]
    table += [[f"**{what}**", f"{times}"] for what, times in broken.items()]
    caption = f"{count} files from {len(bases)} slides, seed {seed}; {here['processor']}."
    results = {"outcomes": found, "broken": broken, "machine": here}
    write_results("hostile", results, table, caption=caption, folder=out)
    if any(broken.values()):
        sys.exit(1)


def run(
    cluster: Cluster, bases: Mapping[str, bytes], count: int, seed: int
) -> tuple[Counter[str], dict[str, int]]:
    """Send the mutants of `bases`; return how often each outcome came, and what went wrong."""
    cluster.start()
    found: Counter[str] = Counter()
    before = parts_of(cluster)
    with (
        progress_bar() as show,
        ThreadPoolExecutor(CLIENTS) as senders,
        httpx.Client(base_url=cluster.client.url, timeout=300) as http,
    ):
        for done, what in enumerate(senders.map(partial(outcome, http), mutants(bases, count, seed)), 1):
            found[what] += 1
            show("files", done / count)
    left = [path for part in ("slides", "jobs") for path in (cluster.data_dir / part).rglob("*")]
    return found, {
        "API or queue ended": len(before - parts_of(cluster)),
        "neither a clear 4xx nor a job that ended": sum(n for what, n in found.items() if not is_clear(what)),
        "files left": sum(path.is_file() for path in left),
    }


def parts_of(cluster: Cluster) -> set[int]:
    """Return the process ids of API and queue."""
    return {process.pid for part in ("API", "queue") for process in cluster.hosts[0].parts(part)}


def own_slides(folder: Path) -> dict[str, bytes]:
    """Return small slides of several kinds by name.

    JPEG tiles with and without a vendor's mark, lossless ones, strips, an OME-TIFF and a DICOM file.
    """
    phantom = write_phantom(folder / "jpeg.tif", size_px=SIDE_PX, seed=PHANTOM_SEED).slide
    image = pyvips.Image.tiffload(str(phantom), access="random")
    common = {"tile": True, "pyramid": True, "bigtiff": False}
    image.tiffsave(str(folder / "deflate.tif"), compression="deflate", **common)
    image.tiffsave(str(folder / "strips.tif"), compression="lzw")
    marked = image.copy()
    marked.set_type(pyvips.GValue.gstr_type, "image-description", APERIO)
    marked.tiffsave(str(folder / "aperio.svs"), compression="jpeg", **common)
    pixels = image.numpy()[:PART_PX, :PART_PX]
    ome = {"axes": "YXS", "PhysicalSizeX": MPP, "PhysicalSizeY": MPP}
    tifffile.imwrite(
        folder / "slide.ome.tif",
        pixels,
        ome=True,
        tile=(256, 256),
        photometric="rgb",
        compression="zlib",
        metadata=ome,
    )
    dicom = write_dicom_slide(folder / "dicom", pixels, MPP)
    names = ("jpeg.tif", "deflate.tif", "strips.tif", "aperio.svs", "slide.ome.tif")
    found = {name: (folder / name).read_bytes() for name in names}
    return {**found, "slide.dcm": (dicom / "level-0.dcm").read_bytes()}


def small_files(folder: Path) -> dict[str, bytes]:
    """Return the files under a folder that are small enough, by name."""
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {path.name: path.read_bytes() for path in files if 0 < path.stat().st_size <= LARGEST_BYTES}


if __name__ == "__main__":
    main()
