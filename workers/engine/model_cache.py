"""Load the networks of an engine process from the weights folder, and keep a few in memory. Imports torch."""

import json
import logging
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Self

import torch

from model.card import ModelCard
from model.errors import ModelError
from model.inference.device import PRECISIONS
from model.inference.segmenter import Segmenter

from ..errors import ModelUnknownError, WeightsMissingError
from ..protocol import Ready, RunJob
from ..settings import WorkerSettings
from .resume import device_kind

logger = logging.getLogger(__name__)


class ModelCache:
    """Networks by the name on their card, least recently used dropped first.

    At most `models_in_memory` of the settings are kept.
    """

    def __init__(self, cards: Mapping[str, tuple[Path, ModelCard]], settings: WorkerSettings) -> None:
        """Take the cards; load nothing yet.

        Args:
            cards: Path and card by name, one at least.
            settings: `device` names the one device of this process.
        """
        self._cards = cards
        self._settings = settings
        self._loaded: OrderedDict[tuple[str, str], Segmenter] = OrderedDict()
        self._default = settings.default_model or next(iter(cards))

    @classmethod
    def of(cls, settings: WorkerSettings) -> Self:
        """Return the cache of `settings.weights_dir`, nothing loaded yet.

        Raises:
            WeightsMissingError: The folder has no usable card.
        """
        if settings.threads is not None:
            torch.set_num_threads(settings.threads)
        return cls(read_cards(settings.weights_dir), settings)

    def default(self) -> Segmenter:
        """Return the default model's network.

        Raises:
            ModelUnknownError: There is no card of its name.
            ModelError: It cannot be loaded.
        """
        return self.get(self._default)

    def ready(self) -> Ready:
        """Load the default model and return the message that says which models there are.

        Raises:
            ModelUnknownError: There is no card of the default model's name.
            ModelError: It cannot be loaded.
        """
        segmenter = self.default()
        cards = tuple(json.dumps(card.to_json()) for _, card in self._cards.values())
        return Ready(segmenter.device, segmenter.dtype, self._default, cards)

    def of_run(self, run: RunJob) -> Segmenter:
        """Return the network of a run, in the number format of the job's first start on such a device.

        Raises:
            ModelUnknownError: There is no card of the run's model.
            ModelError: It cannot be loaded.
        """
        own = self.get(run.model, run.parameters.precision)
        first = run.pinned
        if first is None or run.parameters.precision or first.device != device_kind(own.device):
            return own
        precision = precision_named(first.dtype)
        in_torch = own.card.network.architecture != "onnx"
        same = own.dtype == first.dtype
        return own if same or precision is None or not in_torch else self.get(run.model, precision)

    def get(self, name: str, precision: str | None = None) -> Segmenter:
        """Return the network of card `name`, from memory or from disk.

        Raises:
            ModelUnknownError: There is no card of that name.
            ModelError: It cannot be loaded.
        """
        if name not in self._cards:
            known = ", ".join(self._cards)
            raise ModelUnknownError(f"No model is named {name!r} here. Known models: {known}.")
        settings = self._settings
        key = (name, precision or settings.precision)
        if key not in self._loaded:
            while len(self._loaded) >= settings.models_in_memory:
                self._loaded.popitem(last=False)
            path, card = self._cards[name]
            # Device, precision and back end of the settings are those of our networks; a graph has its own.
            in_graph = card.network.architecture == "onnx"
            self._loaded[key] = Segmenter.load(
                path,
                device="cpu" if in_graph else settings.device,
                precision=(precision or "auto") if in_graph else key[1],
                batch_size=settings.batch_size,
                compiled=settings.compile,
                backend=settings.backend,
                int8_dir=settings.int8_dir,
            )
        self._loaded.move_to_end(key)
        return self._loaded[key]


def precision_named(dtype: str) -> str | None:
    """Return the name of the precision whose number format is `dtype`; None if there is none."""
    names = {str(value).removeprefix("torch."): name for name, value in PRECISIONS.items()}
    return names.get(dtype)


def read_cards(folder: Path) -> dict[str, tuple[Path, ModelCard]]:
    """Read every usable card in `folder`; return path and card by name, in file name order.

    Raises:
        WeightsMissingError: There is none.
    """
    cards = {}
    for path in sorted(folder.glob("*.json")):
        try:
            card = ModelCard.load(path)
        except ModelError:
            logger.exception("%s is no usable model card, left out", path)
            continue
        cards[card.name] = (path, card)
    if not cards:
        raise WeightsMissingError(
            f"No usable model card (*.json) in {folder}. Set DAREFINE_WEIGHTS_DIR to a folder that has one, "
            "or make one with `darefine train`."
        )
    return cards
