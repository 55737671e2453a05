"""Compile networks for inference with torch.compile."""

import secrets
from functools import partial

import torch

from ..errors import DeviceError
from ..network.base import SegmentationNetwork

RECOMPILE_LIMIT = 64
"""Input sizes that may be compiled in one process."""


def check_compiler(device: torch.device) -> None:
    """Compile a tiny function to check that torch.compile works: better at load than in the first job.

    Raises:
        DeviceError: It does not work on this device; the message says what is missing.
    """
    try:
        # Never the same program: one from torch's cache on disk would hide that the compiler is gone.
        number = secrets.randbelow(2**31)
        torch.compile(lambda values: values.sin() + number)(torch.ones(64, device=device))
    except Exception as error:  # torch documents no class: each of its layers raises its own
        reason = str(error).strip().partition("\n")[0]
        raise DeviceError(
            f"torch.compile does not work here ({type(error).__name__}: {reason}). It needs a C++ compiler "
            "such as g++, and Triton for a GPU. Install what is missing, or do without: "
            "unset DAREFINE_COMPILE."
        ) from error


def compile_network(network: SegmentationNetwork) -> None:
    """Wrap `forward` and `encode_context` in torch.compile, in place; each input size compiles on first use.

    Shapes are static: kernels for fixed shapes are faster, and patches have few. The default mode is used on
    a GPU
    too: "max-autotune" picks kernels by timing them, so that logits could differ in the last digits from one
    process to the next, and CUDA graphs ("reduce-overhead") overwrite their outputs, of which the context's
    must outlive many passes. Reductions are not tuned by timing either, where torch has the option.
    """
    # Past its limit, 8 by default, torch goes on without compiling, and every halo or scale in a job counts.
    torch._dynamo.config.recompile_limit = RECOMPILE_LIMIT  # noqa: SLF001
    untimed = {"deterministic": True} if "deterministic" in torch._inductor.list_options() else None  # noqa: SLF001
    compiled = partial(torch.compile, dynamic=False, options=untimed)
    network.encode_context = compiled(network.encode_context)  # type: ignore[method-assign]
    network.forward = compiled(network.forward)  # type: ignore[method-assign]
