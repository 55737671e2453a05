"""Choose the device and the precision, and compute reproducibly on it."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from ..errors import DeviceError

PRECISIONS = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def choose_device(name: str) -> torch.device:
    """Return the torch device of a name; "auto" is the first CUDA GPU, else the CPU.

    Raises:
        DeviceError: The name is unknown or the device is not usable here.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise DeviceError(f"device {name!r} is not usable here ({error}). Use auto or cpu.") from error
    return device


def choose_precision(name: str, device: torch.device) -> str:
    """Return a key of PRECISIONS for a name.

    "auto" is bf16 where the device computes in it natively, else fp16 on CUDA and fp32 on a CPU: a CPU
    without bf16 emulates it, which is far slower than fp32.

    Raises:
        DeviceError: The precision is unknown, or is fp16 on a CPU.
    """
    if name == "auto":
        if device.type == "cuda":
            # Without the second argument PyTorch also counts GPUs that emulate it.
            return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp16"
        return "bf16" if device.type == "cpu" and cpu_has_bf16() else "fp32"
    if name not in PRECISIONS:
        raise DeviceError(f"precision {name!r} is unknown; use auto, {', '.join(PRECISIONS)}")
    if name == "fp16" and device.type == "cpu":
        raise DeviceError("fp16 is for GPUs; on a CPU use fp32, bf16 or auto")
    return name


def cpu_has_bf16() -> bool:
    """Tell whether this CPU multiplies bf16 natively (AVX512-BF16 or AMX).

    False where PyTorch cannot tell.
    """
    flags = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    return any(bool(getattr(torch.cpu, flag, bool)()) for flag in flags)


@contextmanager
def computing_on(device: torch.device) -> Iterator[None]:
    """Make `device` current and its results reproducible, with true fp32, inside the context.

    Equal inputs then give equal bytes each time. On CUDA, cuDNN uses deterministic algorithms, chosen by rule
    and not by timing them (timings may differ next time), and convolutions do not use TF32, which PyTorch
    allows them by default (but not matrix products). The settings are restored on exit, for a training in the
    same process. Changes nothing on a CPU.
    """
    if device.type != "cuda":
        yield
        return
    exact = torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False)
    with torch.cuda.device(device), exact:
        yield
