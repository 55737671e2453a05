"""Pixels to the device and labels back, without the two waiting for each other."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


@dataclass(frozen=True, slots=True)
class PendingLabels:
    """Labels that a device may still be computing."""

    labels: Tensor
    """uint8, in this process's memory; of no meaning before `copied`."""
    copied: torch.cuda.Event | None = None
    """Passed when a GPU has computed and copied all of them. None: nothing to wait for."""

    @property
    def done(self) -> bool:
        """Whether `wait` would return at once."""
        return self.copied is None or self.copied.query()  # type: ignore[no-untyped-call]  # torch's, as below

    def wait(self) -> NDArray[np.uint8]:
        """The labels, once they are there; the array shares their memory."""
        if self.copied is not None:
            self.copied.synchronize()
        labels: NDArray[np.uint8] = self.labels.numpy()
        return labels


class Transfer:
    """Copies between this process and one device. On a CPU nothing is copied that need not be.

    GPUs read and write page-locked memory by themselves, beside their computing. Each upload and download gets a block
    of it from PyTorch, which keeps the blocks of earlier ones for this and gives none away before the copy that uses
    it is done, however soon the tensor is dropped.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._uploads: torch.cuda.Stream | None = None
        if device.type == "cuda":
            self._uploads = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]

    def upload(self, array: NDArray[np.generic]) -> Tensor:
        """The array on the device; on a CPU it may share the caller's memory."""
        # PyTorch warns of read-only arrays, and memory maps are that.
        shareable = array if array.flags.writeable and array.flags.c_contiguous else array.copy()
        here = torch.from_numpy(shareable)
        if self._uploads is None:
            return here.to(self._device)
        locked = here.pin_memory()
        computing = torch.cuda.current_stream(self._device)
        # A stream of its own: this patch goes up while the one before is computed.
        with torch.cuda.stream(self._uploads):
            there = locked.to(self._device, non_blocking=True)
        computing.wait_stream(self._uploads)
        there.record_stream(computing)
        return there

    def download(self, labels: Tensor) -> PendingLabels:
        """uint8 labels of the device on their way here, behind all that it was told to compute before."""
        if self._uploads is None:
            return PendingLabels(labels.cpu())
        here = torch.empty(labels.shape, dtype=labels.dtype, pin_memory=True)
        here.copy_(labels, non_blocking=True)
        # Waiting for it sleeps: a core that spins would be missing to the readers.
        copied = torch.cuda.Event(blocking=True)  # type: ignore[no-untyped-call]
        copied.record(torch.cuda.current_stream(self._device))
        return PendingLabels(here, copied)
