"""Choose batch sizes, and go on with smaller batches when memory runs out."""

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
"""Slices in a pass on a CPU; larger passes take more memory and bring no speed there."""

SLICE_WINDOW_PX = 640
"""Side of a slice's window; one of twice the side counts as four slices."""

LARGEST_BATCH = 32
"""Upper bound of "auto": a usual patch has 5 x 5 slices, so larger passes would not be filled."""

MEMORY_SHARE = 0.8
"""Fraction of the free memory that "auto" plans with; the rest is for workspaces, which grow in steps."""

R = TypeVar("R")


class Batching:
    """Splits the windows of patches into passes of the network.

    `asked` is the requested maximum of slices in a pass, of windows of several times the side so many fewer
    that a pass has about as many pixels, but at least one; "auto" is CPU_BATCH on a CPU. On a GPU it is found
    at the first patch of a geometry: two trial passes, of one slice and of two, give the memory of a slice,
    and the largest power of two whose activations fit into MEMORY_SHARE of the free memory is taken, up to
    LARGEST_BATCH. If memory runs out nevertheless, the batch is halved for good and the same slices are run
    again. `padded`: every pass has the full size, because a compiled network would have to be compiled again
    for another.
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
        """Upper bound of slices in any pass."""
        return LARGEST_BATCH if self.asked == "auto" else self.asked

    def size(self, geometry: Hashable) -> int | None:
        """Return the slices in a pass for patches of this geometry; None before the first patch."""
        return self._sizes.get(geometry)

    def run(
        self,
        count: int,
        geometry: Hashable,
        run_pass: Callable[[int, int], None],
        *,
        window_px: int = SLICE_WINDOW_PX,
    ) -> None:
        """Call `run_pass(start, stop)` until slices 0..count are done.

        `stop` may lie beyond `count`, by less than `largest`, in trial passes and when `padded`. `geometry`
        is a key for the sizes of a patch, `window_px` the side of a window as it is fed to the network.

        Raises:
            DeviceMemoryError: Not even one slice fits into memory.
        """
        if geometry not in self._sizes:
            self._sizes[geometry] = self._first_size(run_pass, window_px)
        start = 0
        while start < count:
            limit = self._sizes[geometry]
            size = limit if self._padded else pass_size(count - start, limit)
            problem = _out_of_memory(run_pass, start, start + size)
            if problem is None:
                start += size
                continue
            if size == 1:
                raise memory_error(self._device, problem)
            release_cached_memory(self._device)
            self._sizes[geometry] = size // 2
            logger.warning("%s: out of memory; batches of %d from now on", self._device, size // 2)

    def _first_size(self, run_pass: Callable[[int, int], None], window_px: int) -> int:
        if self.asked != "auto":
            return max(1, self.asked // max(1, window_px // SLICE_WINDOW_PX) ** 2)
        # Trials are for their memory only; nothing is compiled for sizes that will not come again.
        with torch.compiler.set_stance("force_eager") if self._padded else nullcontext():
            one, two = (peak_bytes(self._device, run_pass, size) for size in (1, 2))
        if one is None or two is None:
            return 1
        size = largest_batch(one, two, free_bytes(self._device))
        logger.info("%s: batches of %d (a slice takes %.0f MB)", self._device, size, (two - one) / 1e6)
        return size


def pass_size(left: int, size: int) -> int:
    """Return the slices in the next pass, splitting `left` slices into even passes of at most `size`.

    With a `size` of 3 or more no slice goes alone, unless it is the only one. Without oneDNN PyTorch
    convolves small maps of a single image by another algorithm, and labels must not depend on batches.
    """
    passes = math.ceil(left / size)
    return math.ceil(left / passes)


def largest_batch(one: int, two: int, free: int) -> int:
    """Return the largest power of two (1..LARGEST_BATCH) whose pass fits into MEMORY_SHARE of `free`.

    `one` and `two` are the peak bytes of passes of one and two slices; each further slice takes their
    difference.
    """
    each = max(two - one, 1)
    fitting = 1 + (MEMORY_SHARE * free - one) / each
    size = 1
    while 2 * size <= min(fitting, LARGEST_BATCH):
        size *= 2
    return size


def peak_bytes(device: torch.device, run_pass: Callable[[int, int], None], size: int) -> int | None:
    """Measure the peak bytes of tensors in a pass of `size` slices on a GPU; None if it did not fit."""
    release_cached_memory(device)
    torch.cuda.reset_peak_memory_stats(device)
    before = torch.cuda.memory_allocated(device)
    if _out_of_memory(run_pass, 0, size) is not None:
        return None
    return torch.cuda.max_memory_allocated(device) - before


def free_bytes(device: torch.device) -> int:
    """Return the bytes that tensors may still take on a GPU: free, or cached by PyTorch."""
    free, _ = torch.cuda.mem_get_info(device)
    kept = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    return free + kept


def with_second_try(work: Callable[[], R], device: torch.device) -> R:
    """Return `work()`; if memory runs out, release PyTorch's cached memory and try once more.

    Raises:
        DeviceMemoryError: Memory ran out the second time as well.
    """
    problem = ""
    for _ in range(2):
        try:
            return work()
        except RuntimeError as error:
            if not _is_memory_error(error):
                raise
            problem = str(error)
        # Behind the except clause: until then the traceback keeps the tensors of the failed attempt.
        release_cached_memory(device)
    raise memory_error(device, problem)


def release_cached_memory(device: torch.device) -> None:
    """Return PyTorch's cached GPU memory to the driver; nothing to do on a CPU."""
    if device.type == "cuda":
        torch.cuda.empty_cache()


def memory_error(device: torch.device, problem: str) -> DeviceMemoryError:
    """Build the error for a context or a single slice that does not fit; `problem` is PyTorch's message."""
    return DeviceMemoryError(
        f"The memory of {device} does not suffice for a patch's context and one slice. Stop what else uses "
        f"it, keep fewer models in memory, choose precision bf16 or fp16, or device cpu. "
        f"PyTorch says: {problem}"
    )


def _is_memory_error(error: RuntimeError) -> bool:
    """Tell whether memory ran out: PyTorch has a class for it, cuDNN and cuBLAS only a message."""
    return isinstance(error, torch.OutOfMemoryError) or "ALLOC_FAILED" in str(error)


def _out_of_memory(run_pass: Callable[[int, int], None], start: int, stop: int) -> str | None:
    """Run a pass; return PyTorch's message if memory ran out, else None.

    Only the text is returned, because the error's traceback would keep tensors alive.
    """
    try:
        run_pass(start, stop)
    except RuntimeError as error:
        if not _is_memory_error(error):
            raise
        return str(error)
    return None
