"""Measure the memory of this process and its GPU: what it holds when idle, and the most it held since."""

import contextlib
import sys
from pathlib import Path

import torch

_STATUS, _CLEAR_REFS = Path("/proc/self/status"), Path("/proc/self/clear_refs")
_RESET_PEAK = "5"  # proc(5): sets the peak to what is resident now


class MemoryWatch:
    """Memory when idle and the peaks since.

    Sizes are MB of 10^6 bytes; None where the system does not tell.
    """

    def __init__(self, device: str) -> None:
        """Begin to watch; of a GPU (`device`, a torch device) the memory that tensors take is watched too."""
        self._device = device if device.startswith("cuda") else None
        with contextlib.suppress(OSError):
            _CLEAR_REFS.write_text(_RESET_PEAK, encoding="ascii")
        if self._device is not None:
            torch.cuda.reset_peak_memory_stats(self._device)
        self.idle_mb = _resident_mb("VmRSS")

    def peak_mb(self) -> int | None:
        """Return the most that was resident.

        Where the system keeps no resettable peak, since the process began.
        """
        return _resident_mb("VmHWM")

    def gpu_peak_mb(self) -> int | None:
        """Return the most that tensors took; None on a CPU."""
        if self._device is None:
            return None
        return round(torch.cuda.max_memory_allocated(self._device) / 1e6)


def _resident_mb(field: str) -> int | None:
    """Read VmRSS (now) or VmHWM (peak) of proc(5). Elsewhere both are the peak, from getrusage(2)."""
    if _STATUS.exists():
        lines = _STATUS.read_text(encoding="ascii", errors="replace").splitlines()
        sizes = [line.split()[1] for line in lines if line.startswith(f"{field}:")]
        return round(int(sizes[0]) * 1024 / 1e6) if sizes else None
    if sys.platform == "win32":
        return None
    import resource  # noqa: PLC0415  (Windows has none)

    unit = 1 if sys.platform == "darwin" else 1024
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6)
