"""Training on several GPUs: the processes that torchrun starts, each with a rank and its own device."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

import torch
from torch import distributed, nn
from torch.nn.parallel import DistributedDataParallel

from ..inference.device import choose_device

TIMEOUT = timedelta(hours=12)
"""How long ranks wait for the main one, which alone validates and evaluates."""


@dataclass(frozen=True, slots=True)
class ProcessGroup:
    """Rank, size and device of this process among those of a training."""

    rank: int
    world_size: int
    device: torch.device

    @property
    def is_main(self) -> bool:
        """Whether this process writes files and reports progress."""
        return self.rank == 0

    def data_parallel(self, module: nn.Module) -> nn.Module:
        """Wrap a module so that gradients are averaged over all ranks; return it as it is for one process.

        Every forward pass of the wrapper is a collective call when several processes share the work.
        """
        if self.world_size == 1:
            return module
        devices = [self.device] if self.device.type == "cuda" else None
        # Stages may train a part of the network only.
        return DistributedDataParallel(module, device_ids=devices, find_unused_parameters=True)

    def any(self, flag: bool) -> bool:
        """Return whether `flag` is true in any rank; every rank must ask."""
        if self.world_size == 1:
            return flag
        flags = torch.tensor(float(flag), device=self.device)
        distributed.all_reduce(flags, distributed.ReduceOp.MAX)
        return bool(flags.item())

    def barrier(self) -> None:
        """Wait until all ranks are here."""
        if self.world_size > 1:
            distributed.barrier()


@contextmanager
def process_group(device: str) -> Iterator[ProcessGroup]:
    """Join the process group that torchrun's environment names; without it, this process trains alone.

    Raises:
        DeviceError: The device is not there.
    """
    if "RANK" not in os.environ:
        yield ProcessGroup(0, 1, choose_device(device))
        return
    chosen = choose_device(device)
    if chosen.type == "cuda":
        chosen = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
        torch.cuda.set_device(chosen)
    distributed.init_process_group("nccl" if chosen.type == "cuda" else "gloo", timeout=TIMEOUT)
    try:
        yield ProcessGroup(distributed.get_rank(), distributed.get_world_size(), chosen)
    finally:
        distributed.destroy_process_group()
