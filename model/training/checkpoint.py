"""Save and load the state that a killed training resumes from: one safetensors file, replaced atomically."""

import hashlib
import json
from dataclasses import asdict, dataclass, field
from pathlib import Path

import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn

from wsi.atomic import write_atomically

from ..data.index import SlideIndex
from ..errors import ResumeError
from .config import TrainConfig
from .loss import TrainingModule

CURVE_POINTS = 100
"""About how many points the loss curve has, however long the training."""


@dataclass(slots=True)
class History:
    """Progress of a training so far: steps, time, losses and validation scores."""

    step: int = 0
    """Steps done."""
    seconds: float = 0.0
    """Computing time over all runs."""
    curve: list[tuple[int, float]] = field(default_factory=list)
    """(steps done, mean loss since the entry before)."""
    recent: list[float] = field(default_factory=list)
    """Losses since the curve's last entry."""
    validations: list[tuple[int, float]] = field(default_factory=list)
    """(steps done, MIoU on the validation slides)."""

    @property
    def best_miou(self) -> float:
        """Highest validation MIoU so far, -1 before the first."""
        return max((miou for _, miou in self.validations), default=-1.0)

    def record_loss(self, loss: float, steps: int) -> None:
        """Count a step of a training of `steps` and add its loss to the curve."""
        self.step += 1
        self.recent.append(loss)
        if self.step % max(1, steps // CURVE_POINTS) == 0 or self.step == steps:
            self.curve.append((self.step, round(sum(self.recent) / len(self.recent), 4)))
            self.recent.clear()

    def to_json(self) -> str:
        """Return the history as JSON text."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> "History":
        """Read what `to_json` returned."""
        history = cls(**json.loads(text))
        history.curve = [(step, loss) for step, loss in history.curve]  # JSON has no tuples
        history.validations = [(step, miou) for step, miou in history.validations]
        return history


@dataclass(slots=True)
class TrainState:
    """Everything that training steps change, and the file that a resumed training restores it from."""

    path: Path
    """The state file; it is written by `save` and need not exist."""
    fingerprint: str
    """Name of the training that the file belongs to (`training_fingerprint`)."""
    module: TrainingModule
    optimizer: torch.optim.Optimizer
    scaler: torch.amp.GradScaler
    """Scale of float16 losses; disabled in other precisions."""
    history: History = field(default_factory=History)

    @property
    def best_path(self) -> Path:
        """The file for the weights that validated best."""
        return self.path.with_name(self.path.name.replace(".state.", ".best."))

    def remove(self) -> None:
        """Remove both files."""
        self.path.unlink(missing_ok=True)
        self.best_path.unlink(missing_ok=True)

    def save(self) -> None:
        """Write module, optimizer, scaler and history to the state file."""
        tensors = {
            f"network.{name}": tensor.contiguous() for name, tensor in self.module.state_dict().items()
        }
        for name, parameter in self.module.named_parameters():
            for key, value in self.optimizer.state[parameter].items():
                tensors[f"optimizer.{key}.{name}"] = value.contiguous()
        metadata = {
            "history": self.history.to_json(),
            "scaler": json.dumps(self.scaler.state_dict()),
            "fingerprint": self.fingerprint,
        }
        write_atomically(self.path, safetensors.torch.save(tensors, metadata))

    def load(self) -> None:
        """Restore what `save` wrote; change nothing where there is no state file.

        Raises:
            ResumeError: The file is damaged or of another training.
        """
        if not self.path.exists():
            return
        tensors, metadata = _read(self.path)
        if metadata.get("fingerprint") != self.fingerprint:
            raise ResumeError(
                f"{self.path} was left by a training with other settings or slides. Train with those, write "
                "to another folder, or remove the file to start anew."
            )
        self.module.load_state_dict(
            {name.removeprefix("network."): t for name, t in tensors.items() if name.startswith("network.")}
        )
        _load_optimizer(self.optimizer, self.module, tensors)
        if self.scaler.is_enabled():
            self.scaler.load_state_dict(json.loads(metadata["scaler"]))
        self.history = History.from_json(metadata["history"])


def training_fingerprint(config: TrainConfig, index: SlideIndex) -> str:
    """Return the SHA-256 of settings, draft card, slides and planned slices of a training."""
    planned = [asdict(planned) for planned in index.train]
    parts = [config.to_json(), config.card.to_json(), index.cohort.to_json(), planned]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def _read(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Return the tensors and the metadata of a state file."""
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}, file.metadata() or {}  # noqa: SIM118
    except safetensors.SafetensorError as error:
        raise ResumeError(f"{path} is damaged ({error}). Remove it to start the training anew.") from error


def _load_optimizer(optimizer: torch.optim.Optimizer, module: nn.Module, tensors: dict[str, Tensor]) -> None:
    """Fill the optimizer's running means from `optimizer.<key>.<parameter>` tensors."""
    parameters = dict(module.named_parameters())
    for full_name, tensor in tensors.items():
        if full_name.startswith("optimizer."):
            _, key, name = full_name.split(".", 2)
            # Running means take the memory layout of their parameter; step counts are scalars.
            like = parameters[name] if tensor.ndim else tensor
            optimizer.state[parameters[name]][key] = torch.empty_like(like).copy_(tensor)
