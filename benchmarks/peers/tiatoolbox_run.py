"""Competitor `tiatoolbox`: entry of its measured process, in its own virtual environment."""

from importlib import import_module

import torch

from .process import answer, task_of_this_process


def main() -> None:
    """Make torchvision importable, then tiatoolbox, then run it."""
    task = task_of_this_process()
    import_torchvision()
    adapter = import_module("benchmarks.peers.tiatoolbox_adapter")
    answer(task, *adapter.run(task))


def import_torchvision() -> None:
    """Import torchvision, also where its compiled operators do not load (a CUDA build beside a CPU torch).

    It then fails while it says what shapes two operators give that do not exist. tiatoolbox imports
    torchvision and timm, but nothing that is run here uses the operators, so it is enough that
    their names exist.
    """
    try:
        import_module("torchvision")
    except RuntimeError:
        for operator in ("nms", "qnms"):
            torch.library.define(
                f"torchvision::{operator}", "(Tensor boxes, Tensor scores, float iou) -> Tensor"
            )
        import_module("torchvision")


if __name__ == "__main__":
    main()
