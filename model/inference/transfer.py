"""Copy pixels to a device and labels back without blocking its computing."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


@dataclass(frozen=True, slots=True)
class PendingLabels:
    """Labels that a device may still be computing or copying."""

    labels: Tensor
    """uint8, in this process's memory; undefined before `copied` has passed."""
    copied: torch.cuda.Event | None = None
    """Event that passes when a GPU has computed and copied all labels. None: nothing to wait for."""
    probabilities: "PendingLabels | None" = None
    """The winners' probabilities of the same pixels, uint8, where they were asked for."""

    @property
    def done(self) -> bool:
        """Whether `wait` would return at once."""
        return self.copied is None or self.copied.query()  # type: ignore[no-untyped-call]  # torch's, as below

    def wait(self) -> NDArray[np.uint8]:
        """Wait for the labels and return them; the array shares their memory."""
        if self.copied is not None:
            self.copied.synchronize()
        labels: NDArray[np.uint8] = self.labels.numpy()
        return labels


class Transfer:
    """Copies between this process and one device; on a CPU it avoids copies where it can.

    GPUs read and write page-locked memory by themselves, beside their computing. Each upload and download
    gets a block of it from PyTorch, which reuses the blocks of earlier ones, but none before the copy that
    uses it is done, however soon the tensor is dropped.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._uploads: torch.cuda.Stream | None = None
        if device.type == "cuda":
            self._uploads = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]

    def upload(self, array: NDArray[np.generic]) -> Tensor:
        """Copy an array to the device; on a CPU the tensor may share the caller's memory."""
        # PyTorch warns of read-only arrays, and memory maps are that.
        shareable = array if array.flags.writeable and array.flags.c_contiguous else array.copy()
        source = torch.from_numpy(shareable)
        if self._uploads is None:
            return source.to(self._device)
        pinned = source.pin_memory()
        computing = torch.cuda.current_stream(self._device)
        # A stream of its own: this patch is copied while the one before is computed.
        with torch.cuda.stream(self._uploads):
            uploaded = pinned.to(self._device, non_blocking=True)
        computing.wait_stream(self._uploads)
        uploaded.record_stream(computing)
        return uploaded

    def download(self, labels: Tensor) -> PendingLabels:
        """Start copying uint8 labels from the device, after all work queued there before."""
        if self._uploads is None:
            return PendingLabels(labels.cpu())
        pinned = torch.empty(labels.shape, dtype=labels.dtype, pin_memory=True)
        pinned.copy_(labels, non_blocking=True)
        # A blocking event sleeps while it waits: a core that spins would be lost to the readers.
        copied = torch.cuda.Event(blocking=True)  # type: ignore[no-untyped-call]
        copied.record(torch.cuda.current_stream(self._device))
        return PendingLabels(pinned, copied)
