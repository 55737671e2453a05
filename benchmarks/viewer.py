"""Measure how quickly the viewer answers: first view, opacity, classes, outlines, patches of a job that runs.

`python -m benchmarks.viewer` starts a service of its own with a phantom slide and measures in Chromium, which
needs no GPU. A switch counts from the click to the second frame after it, when its effect is on the screen.
"""

import json
import statistics
import time

import click

from .browser import BOTH, WINDOW, Stage, stage

REPEATS = 20
VIEWS = 5
PATCHES = 6
PATIENCE_S = 10

TIMED = """async ([selector, call, event]) => {
    const frames = () => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)));
    const control = document.querySelector(selector);
    await frames();
    const begun = performance.now();
    control[call]();
    if (event) control.dispatchEvent(new Event(event));
    await frames();
    return performance.now() - begun;
}"""

SWITCHES = {
    "opacity_ms": ("#opacity", "stepUp", "input"),
    "class_ms": (".classes input[type=checkbox]", "click", ""),
    "outline_ms": ("#outline", "click", ""),
    "labels_ms": ("#labels-shown", "click", ""),
}
"""What is done to which control, and the event that tells the page of it."""

LABELLED = """() => {
    const layer = document.querySelector('.label-layer');
    const { data } = layer.getContext('2d').getImageData(0, 0, layer.width, layer.height);
    return data.reduce((count, value, at) => count + (at % 4 === 3 && value > 0), 0);
}"""

SENT = """() => ['navigation', 'resource'].flatMap((type) => performance.getEntriesByType(type))
    .filter(({ name }) => !name.includes('/tiles/') && !name.includes('/thumbnail'))
    .reduce((sum, { transferSize }) => sum + transferSize, 0)"""


@click.command()
@click.option("--size", "size_px", type=click.IntRange(min=12_288), default=20_480, show_default=True)
@click.option("--seed", type=int, default=2026, show_default=True)
def main(size_px: int, seed: int) -> None:
    """Measure, and print JSON: median and slowest, in milliseconds."""
    with stage(size_px=size_px, seed=seed) as set_up:
        job_id = set_up.submit(BOTH)
        shown = growth(set_up, job_id)
        set_up.wait(job_id)
        views, sent = first_views(set_up, job_id)
        figures = {"patch_to_screen_ms": summary(shown), "first_view_ms": summary(views)}
        set_up.open(f"job={job_id}&x={size_px // 2}&y={size_px // 2}&zoom=0.5")
        for name, action in SWITCHES.items():
            figures[name] = summary([set_up.page.evaluate(TIMED, action) for _ in range(REPEATS)])
    click.echo(json.dumps({**figures, "page_kb": round(sent / 1000)}, indent=1))


def growth(set_up: Stage, job_id: str) -> list[float]:
    """Return milliseconds from the moment a patch is on the disk to more labels on the screen."""
    set_up.page.goto(f"{set_up.url}/#job={job_id}")
    patches = set_up.data_dir / "jobs" / job_id / "patches"
    set_up.wait(job_id, patches=1)
    set_up.page.wait_for_timeout(1000)
    delays: list[float] = []
    known = set(patches.glob("patch-*.tif"))
    while len(delays) < PATCHES:
        before = set_up.page.evaluate(LABELLED)
        while not (fresh := set(patches.glob("patch-*.tif")) - known):
            set_up.page.wait_for_timeout(10)
        stored = min(path.stat().st_mtime for path in fresh)
        while set_up.page.evaluate(LABELLED) == before and time.time() - stored < PATIENCE_S:
            set_up.page.wait_for_timeout(10)
        delays.append(1000 * (time.time() - stored))
        known |= fresh
    return delays


def first_views(set_up: Stage, job_id: str) -> tuple[list[float], int]:
    """Return milliseconds until slide and labels are seen, with nothing kept, and the bytes of the page."""
    times, sent = [], 0
    set_up.page.goto("about:blank")
    browser = set_up.page.context.browser
    assert browser is not None
    for _ in range(VIEWS):
        page = browser.new_page(viewport=WINDOW)  # type: ignore[arg-type]
        page.goto(f"{set_up.url}/#job={job_id}")
        page.wait_for_selector("#stage[aria-busy=false]")
        times.append(float(page.evaluate("performance.now()")))
        sent = page.evaluate(SENT)
        page.close()
    return times, sent


def summary(milliseconds: list[float]) -> dict[str, float]:
    """Return the median and the slowest."""
    return {"median": round(statistics.median(milliseconds), 1), "slowest": round(max(milliseconds), 1)}


if __name__ == "__main__":
    main()
