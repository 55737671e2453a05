"""Time passes of the demo network with memory kept or given back, and with threads that wait in other ways.

`python -m benchmarks.decisions.memory_and_threads`

Each way runs in a process of its own, on an idle machine and beside busy processes.
"""

import json
import os
import subprocess
import sys

import click

BATCH, WINDOW_PX = 4, 640

MEASURE = f"""
import json, sys, torch
from benchmarks.decisions.fastest import fastest_ms
from benchmarks.tables import DEMO_CARD
from model.inference.cpu_tuning import tune_malloc
from model.inference.segmenter import Segmenter
if sys.argv[1] == "kept":
    tune_malloc()
card = DEMO_CARD.with_name("phantom-resnet18-single.json")
network = Segmenter.load(card, device="cpu", precision="fp32").network
torch.manual_seed(1)
slices = torch.randn({BATCH}, 3, {WINDOW_PX}, {WINDOW_PX}).to(memory_format=torch.channels_last)
with torch.inference_mode():
    print(json.dumps(fastest_ms({{"pass": lambda: network(slices)}}, int(sys.argv[2]))["pass"]))
"""

WAITS = {
    "as by default": {},
    "asleep at once": {"OMP_WAIT_POLICY": "PASSIVE", "GOMP_SPINCOUNT": "0"},
    "3000 spins": {"OMP_WAIT_POLICY": "PASSIVE", "GOMP_SPINCOUNT": "3000"},
}
"""Of OpenMP's threads: what the environment says to the process."""


def pass_ms(memory: str, wait: str, repeats: int = 10) -> float:
    """Return the shortest time of a pass of BATCH windows in ms; `memory` is "kept" or "given back"."""
    bare = {name: value for name, value in os.environ.items() if not name.startswith(("OMP_", "GOMP_"))}
    command = [sys.executable, "-c", MEASURE, memory, str(repeats)]
    done = subprocess.run(command, check=True, capture_output=True, text=True, env={**bare, **WAITS[wait]})
    return float(json.loads(done.stdout))


@click.command()
def main() -> None:
    """Print one line for each way; the last column is with as many busy processes as half the cores."""
    click.echo(
        "| freed memory | waiting threads | pass ms | with half the cores taken ms |\n|---|---|---|---|"
    )
    for memory, wait in (("given back", "3000 spins"), *(("kept", wait) for wait in WAITS)):
        idle = pass_ms(memory, wait)
        busy = [
            subprocess.Popen([sys.executable, "-c", "while True: pass"])
            for _ in range((os.cpu_count() or 2) // 2)
        ]
        try:
            taken = pass_ms(memory, wait)
        finally:
            for process in busy:
                process.kill()
                process.wait()
        click.echo(f"| {memory} | {wait} | {idle:.0f} | {taken:.0f} |")


if __name__ == "__main__":
    main()
