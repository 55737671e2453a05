"""How many slices go through the network at once, and what happens when memory runs out."""

import logging
import math
from collections.abc import Callable, Hashable
from contextlib import nullcontext
from typing import Literal, TypeVar

import torch

from ..errors import DeviceMemoryError

logger = logging.getLogger(__name__)

BatchSize = int | Literal["auto"]

CPU_BATCH = 4
"""More slices at once make no CPU faster that we measured, and take more memory."""

LARGEST_BATCH = 32
"""The most that "auto" takes: all slices of a usual patch (5 x 5) at once. More would not be there to compute."""

MEMORY_SHARE = 0.8
"""Of the free memory that "auto" plans with; the rest is for workspaces, which grow in steps."""

R = TypeVar("R")


class Batching:
    """Splits the slices of patches into passes of the network.

    `asked` is the most in a pass; "auto" is CPU_BATCH on a CPU. On a GPU it is found at the first patch of a geometry:
    two trial passes, of one slice and of two, say what a slice takes, and the largest power of two whose activations fit
    into MEMORY_SHARE of what is free is taken, up to LARGEST_BATCH. Where memory runs out nevertheless, the batch is
    halved for good and the same slices go on. `padded`: every pass is of the full size, because a compiled network would
    have to be compiled again for another.
    """

    def __init__(self, asked: BatchSize, device: torch.device, *, padded: bool = False) -> None:
        if asked == "auto" and device.type != "cuda":
            asked = CPU_BATCH
        self.asked = asked
        self._device = device
        self._padded = padded
        self._sizes: dict[Hashable, int] = {}

    @property
    def largest(self) -> int:
        """No pass will have more slices."""
        return LARGEST_BATCH if self.asked == "auto" else self.asked

    def size(self, geometry: Hashable) -> int | None:
        """Slices in a pass of patches of this geometry; None before the first."""
        return self._sizes.get(geometry)

    def run(self, count: int, geometry: Hashable, run_pass: Callable[[int, int], None]) -> None:
        """Call `run_pass(start, stop)` until slices 0..count are done.

        `stop` may lie beyond `count`, by less than `largest`, in trial passes and when `padded`. `geometry` is anything
        that stands for the sizes of a patch. Raises DeviceMemoryError when not even one slice fits.
        """
        if geometry not in self._sizes:
            self._sizes[geometry] = self._first_size(run_pass)
        start = 0
        while start < count:
            most = self._sizes[geometry]
            size = most if self._padded else pass_size(count - start, most)
            problem = _out_of_memory(run_pass, start, start + size)
            if problem is None:
                start += size
                continue
            if size == 1:
                raise memory_error(self._device, problem)
            release(self._device)
            self._sizes[geometry] = size // 2
            logger.warning("%s: out of memory; batches of %d from now on", self._device, size // 2)

    def _first_size(self, run_pass: Callable[[int, int], None]) -> int:
        if self.asked != "auto":
            return self.asked
        # Trials are for their memory only; nothing is compiled for sizes that will not come again.
        with torch.compiler.set_stance("force_eager") if self._padded else nullcontext():
            one, two = (peak_bytes(self._device, run_pass, size) for size in (1, 2))
        if one is None or two is None:
            return 1
        size = largest_batch(one, two, free_bytes(self._device))
        logger.info("%s: batches of %d (a slice takes %.0f MB)", self._device, size, (two - one) / 1e6)
        return size


def pass_size(left: int, size: int) -> int:
    """Slices in the next pass when `left` are to come in passes of at most `size`: all passes about the same.

    With a `size` of 3 or more no slice is left over to go alone; PyTorch convolves small maps of a single image by another
    algorithm, and labels are not to depend on batches.
    """
    passes = math.ceil(left / size)
    return math.ceil(left / passes)


def largest_batch(one: int, two: int, free: int) -> int:
    """The largest power of two up to LARGEST_BATCH whose pass fits into MEMORY_SHARE of `free`; at least 1.

    `one` and `two` are the bytes that passes of one and two slices took; what a further slice takes is their difference.
    """
    each = max(two - one, 1)
    most = 1 + (MEMORY_SHARE * free - one) / each
    size = 1
    while 2 * size <= min(most, LARGEST_BATCH):
        size *= 2
    return size


def peak_bytes(device: torch.device, run_pass: Callable[[int, int], None], size: int) -> int | None:
    """Bytes that tensors of a pass of `size` slices took at its worst moment on a GPU; None if it did not fit."""
    release(device)
    torch.cuda.reset_peak_memory_stats(device)
    before = torch.cuda.memory_allocated(device)
    if _out_of_memory(run_pass, 0, size) is not None:
        return None
    return torch.cuda.max_memory_allocated(device) - before


def free_bytes(device: torch.device) -> int:
    """What tensors may still take on a GPU: free for all, or kept by PyTorch for later."""
    free, _ = torch.cuda.mem_get_info(device)
    kept = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    return free + kept


def with_second_try(work: Callable[[], R], device: torch.device) -> R:
    """`work()`, once more if memory ran out, after giving back what is kept for later. Raises DeviceMemoryError."""
    problem = ""
    for _ in range(2):
        try:
            return work()
        except RuntimeError as error:
            if not _is_memory_error(error):
                raise
            problem = str(error)
        # Behind the except clause: until then the traceback keeps the tensors of the failed attempt.
        release(device)
    raise memory_error(device, problem)


def release(device: torch.device) -> None:
    """Give back the GPU memory that PyTorch keeps for later."""
    if device.type == "cuda":
        torch.cuda.empty_cache()


def memory_error(device: torch.device, problem: str) -> DeviceMemoryError:
    """What to say when not even a context or one slice fits; `problem` is PyTorch's message."""
    return DeviceMemoryError(
        f"The memory of {device} does not suffice for a patch's context and one slice. Stop what else uses it, keep fewer "
        f"models in memory, choose precision bf16 or fp16, or device cpu. PyTorch says: {problem}"
    )


def _is_memory_error(error: RuntimeError) -> bool:
    """PyTorch has a class for it, cuDNN and cuBLAS only say so."""
    return isinstance(error, torch.OutOfMemoryError) or "ALLOC_FAILED" in str(error)


def _out_of_memory(run_pass: Callable[[int, int], None], start: int, stop: int) -> str | None:
    """Run a pass; PyTorch's message if memory ran out. Only the text, because the error would keep tensors alive."""
    try:
        run_pass(start, stop)
    except RuntimeError as error:
        if not _is_memory_error(error):
            raise
        return str(error)
    return None
