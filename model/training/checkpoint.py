"""What a training leaves behind so that it can go on after being killed: one safetensors file, replaced
atomically."""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path

import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn

from wsi.atomic import write_atomically

from ..errors import ResumeError


@dataclass(slots=True)
class History:
    """What has happened so far."""

    step: int = 0
    """Steps done."""
    seconds: float = 0.0
    """Of computing, over all runs."""
    curve: list[tuple[int, float]] = field(default_factory=list)
    """(steps done, mean loss since the entry before)."""
    recent: list[float] = field(default_factory=list)
    """Losses since the curve's last entry."""
    validations: list[tuple[int, float]] = field(default_factory=list)
    """(steps done, MIoU on the validation slides)."""


def save_state(
    path: Path,
    network: nn.Module,
    optimizer: torch.optim.Optimizer,
    scaler: torch.amp.GradScaler,
    history: History,
    fingerprint: str,
) -> None:
    """Write network, the optimizer's running means, the scale of float16 losses and history. `fingerprint` names the
    training they belong to."""
    tensors = {f"network.{name}": tensor.contiguous() for name, tensor in network.state_dict().items()}
    for name, parameter in network.named_parameters():
        for key, value in optimizer.state[parameter].items():
            tensors[f"optimizer.{key}.{name}"] = value.contiguous()
    metadata = {
        "history": json.dumps(asdict(history)),
        "scaler": json.dumps(scaler.state_dict()),
        "fingerprint": fingerprint,
    }
    write_atomically(path, safetensors.torch.save(tensors, metadata))


def load_state(
    path: Path,
    network: nn.Module,
    optimizer: torch.optim.Optimizer,
    scaler: torch.amp.GradScaler,
    fingerprint: str,
) -> History | None:
    """Restore what `save_state` wrote; None when there is nothing.

    Raises ResumeError when the file is damaged or of another training.
    """
    if not path.exists():
        return None
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors: dict[str, Tensor] = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except safetensors.SafetensorError as error:
        raise ResumeError(f"{path} is damaged ({error}). Remove it to start the training anew.") from error
    if metadata.get("fingerprint") != fingerprint:
        raise ResumeError(
            f"{path} was left by a training with other settings or slides. Train with those, write to another folder, "
            "or remove the file to start anew."
        )
    network.load_state_dict(
        {name.removeprefix("network."): t for name, t in tensors.items() if name.startswith("network.")}
    )
    parameters = dict(network.named_parameters())
    for full_name, tensor in tensors.items():
        if full_name.startswith("optimizer."):
            _, key, name = full_name.split(".", 2)
            like = parameters[name] if tensor.ndim else tensor
            optimizer.state[parameters[name]][key] = torch.empty_like(like).copy_(tensor)
    if scaler.is_enabled():
        scaler.load_state_dict(json.loads(metadata["scaler"]))
    history = History(**json.loads(metadata["history"]))
    history.curve = [(step, loss) for step, loss in history.curve]  # JSON has no tuples
    history.validations = [(step, miou) for step, miou in history.validations]
    return history
