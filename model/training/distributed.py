"""One training on several GPUs: the processes that torchrun starts, each with a rank and a device of its own."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

import torch
from torch import distributed, nn
from torch.nn.parallel import DistributedDataParallel

from ..inference.device import choose_device

PATIENCE = timedelta(hours=12)
"""How long ranks wait for the first one, which alone looks at the held-out slides."""


@dataclass(frozen=True, slots=True)
class ProcessGroup:
    """This process among those of the training."""

    rank: int
    count: int
    device: torch.device

    @property
    def first(self) -> bool:
        """Whether this process writes files and reports."""
        return self.rank == 0

    def shared(self, module: nn.Module) -> nn.Module:
        """The module with its gradients averaged over all ranks; the module itself where there is one."""
        if self.count == 1:
            return module
        devices = [self.device] if self.device.type == "cuda" else None
        # Stages may train a part of the network only.
        return DistributedDataParallel(module, device_ids=devices, find_unused_parameters=True)

    def wait(self) -> None:
        """Until all ranks are here."""
        if self.count > 1:
            distributed.barrier()


@contextmanager
def joined_ranks(device: str) -> Iterator[ProcessGroup]:
    """The ranks that torchrun's environment names; without it this process alone. Raises DeviceError."""
    if "RANK" not in os.environ:
        yield ProcessGroup(0, 1, choose_device(device))
        return
    chosen = choose_device(device)
    if chosen.type == "cuda":
        chosen = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
        torch.cuda.set_device(chosen)
    distributed.init_process_group("nccl" if chosen.type == "cuda" else "gloo", timeout=PATIENCE)
    try:
        yield ProcessGroup(distributed.get_rank(), distributed.get_world_size(), chosen)
    finally:
        distributed.destroy_process_group()
