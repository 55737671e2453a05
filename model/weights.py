"""Save and load network weights as safetensors, never pickle, checked against the card's SHA-256."""

import hashlib
from pathlib import Path
from typing import Literal

import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn

from wsi.atomic import write_atomically

from .errors import WeightsError


def save_weights(network: nn.Module, path: Path, dtype: Literal["float16", "float32"] = "float16") -> str:
    """Write all parameters and buffers of a network and return the SHA-256 of the file.

    "float16" stores kernels in half precision; vectors (batch-norm statistics, biases) stay float32: they
    take little space, and small variances would underflow. The file is written atomically.
    """
    stored = {name: _as_stored(tensor, dtype) for name, tensor in network.state_dict().items()}
    data = safetensors.torch.save(stored)
    write_atomically(path, data)
    return hashlib.sha256(data).hexdigest()


def load_weights(network: nn.Module, path: Path, *, sha256: str | None = None) -> None:
    """Load a weights file into a network as float32.

    Raises:
        WeightsError: The file cannot be read, its SHA-256 is not `sha256`, or it does not fit the network.
    """
    data = read_checked(path, sha256=sha256)
    try:
        tensors = safetensors.torch.load(data)
    except safetensors.SafetensorError as error:
        raise WeightsError(
            f"{path} is not a safetensors file ({error}). Convert it, or fetch it again."
        ) from error
    loaded = {
        name: tensor.float() if tensor.is_floating_point() else tensor for name, tensor in tensors.items()
    }
    try:
        network.load_state_dict(loaded)
    except RuntimeError as error:
        raise WeightsError(f"{path} does not fit the network its card describes: {error}") from error


def read_checked(path: Path, *, sha256: str | None) -> bytes:
    """Return the bytes of a weights file.

    Raises:
        WeightsError: The file cannot be read, or its SHA-256 is not `sha256`.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise WeightsError(
            f"cannot read the weights {path}: {error.strerror}. They belong beside the card."
        ) from error
    found = hashlib.sha256(data).hexdigest()
    if sha256 is not None and found != sha256:
        raise WeightsError(
            f"{path} has SHA-256 {found}, its card says {sha256}: the file is damaged or belongs to another "
            "card. Fetch weights and card again, together."
        )
    return data


def _as_stored(tensor: Tensor, dtype: Literal["float16", "float32"]) -> Tensor:
    tensor = tensor.detach().cpu()
    if tensor.is_floating_point():
        tensor = tensor.to(torch.float16 if dtype == "float16" and tensor.ndim > 1 else torch.float32)
    return tensor.contiguous()
