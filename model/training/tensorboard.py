"""TensorBoard log of a training: scalars at every step, sample pictures at every validation."""

from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
from numpy.typing import NDArray

from wsi.palette import LabelClass

from ..errors import ReportError
from ..evaluation.examples import Example
from .trainer import TrainProgress


class TrainBoard:
    """Progress callback that writes event files for `tensorboard --logdir`. A context manager."""

    def __init__(self, folder: Path, classes: Sequence[LabelClass]) -> None:
        """Open a log in `folder`.

        Raises:
            ReportError: TensorBoard is not installed.
        """
        try:
            from torch.utils.tensorboard import SummaryWriter  # noqa: PLC0415  (an extra: not everyone has it)
        except ModuleNotFoundError as error:
            raise ReportError(
                "a log needs TensorBoard, which is not installed: pip install 'darefine[train]'. Without "
                "one: leave out --log."
            ) from error
        self._classes = tuple(classes)
        self._writer = SummaryWriter(str(folder))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._writer.close()

    def __call__(self, now: TrainProgress) -> None:
        """Write the scalars of a step, and after a validation its scores and pictures."""
        self._writer.add_scalar("loss", now.loss, now.step)
        self._writer.add_scalar("learning rate", now.learning_rate, now.step)
        if now.validation is None:
            return
        self._writer.add_scalar("validation/MIoU", now.validation.miou_of_truth, now.step)
        self._writer.add_scalar("validation/accuracy", now.validation.accuracy, now.step)
        self._writer.add_scalar("validation/score", now.validation.score, now.step)
        for entry, iou in zip(self._classes, now.validation.iou, strict=True):
            self._writer.add_scalar(f"validation IoU/{entry.name}", iou, now.step)
        for example in now.examples:
            tag = f"{example.slide} at {example.rect.x}, {example.rect.y}: slide, truth, network"
            self._writer.add_image(tag, self._picture(example), now.step, dataformats="HWC")

    def _picture(self, example: Example) -> NDArray[np.uint8]:
        """Return pixels, truth and the network's labels side by side.

        (H, 3 W, 3) RGB uint8, reduced by a whole step to at most 256 px high.
        """
        step = -(-len(example.pixels) // 256)
        colours = np.array([(255, 255, 255), *(entry.colour for entry in self._classes)], np.uint8)
        maps = [colours[labels] for labels in (example.truth, *example.labels.values())]
        return np.concatenate([example.pixels, *maps], axis=1)[::step, ::step]
