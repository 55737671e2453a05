"""Pictures docs/viewer-*.jpg: the viewer with a job that runs, with two results to compare, and a report.

`python -m benchmarks.screenshots` starts a service of its own on a phantom slide, runs both demo models on it
and takes the pictures with Chromium, in some five minutes on two cores.
"""

import io
from pathlib import Path

import click
from PIL import Image

from .browser import ALONE, BOTH, Stage, stage

OUT = Path(__file__).parents[1] / "docs"
QUALITY = 88


@click.command()
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), default=OUT, show_default=True)
@click.option("--size", "size_px", type=click.IntRange(min=8192), default=20_480, show_default=True)
@click.option("--seed", type=int, default=2026, show_default=True)
def main(out: Path, size_px: int, seed: int) -> None:
    """Take the pictures."""
    out.mkdir(parents=True, exist_ok=True)
    with stage(size_px=size_px, seed=seed) as set_up:
        alone = set_up.submit(ALONE)
        set_up.wait(alone)
        both = set_up.submit(BOTH)
        set_up.open(f"job={both}")
        total = planned(set_up, both)
        set_up.wait(both, patches=max(1, total * 2 // 3))
        # What is stored is shown within 1.5 s.
        set_up.page.wait_for_timeout(1500)
        shoot(set_up, out / "viewer-running.jpg")
        set_up.wait(both)
        set_up.open(f"job={both}&with={alone}&mode=swipe")
        set_up.page.wait_for_selector(".agreement strong")
        shoot(set_up, out / "viewer-compare.jpg")
        set_up.page.goto(f"{set_up.url}/jobs/{both}/report")
        set_up.page.wait_for_selector("#report:not([aria-busy])")
        shoot(set_up, out / "viewer-report.jpg", full_page=True)


def planned(set_up: Stage, job_id: str) -> int:
    """Return the number of patches of a job, as soon as it is known."""
    set_up.wait(job_id, patches=1)
    total: int = set_up.http.get(f"/v1/jobs/{job_id}").json()["progress"]["patches_total"]
    return total


def shoot(set_up: Stage, path: Path, *, full_page: bool = False) -> None:
    """Write what the page shows to a JPEG."""
    with Image.open(io.BytesIO(set_up.page.screenshot(full_page=full_page))) as picture:
        picture.convert("RGB").save(path, quality=QUALITY, subsampling=0)
    click.echo(path)


if __name__ == "__main__":
    main()
