"""Fetch files from the Hugging Face hub, or take them from its cache."""

import importlib
from pathlib import Path

from .errors import WeightsError

HUB_PREFIX = "hf-hub:"
"""What names on the hub begin with, as in "hf-hub:timm/resnet50.a1_in1k"."""


def hub_file(repository: str, file: str) -> Path:
    """Download a file of a repository "owner/name" or "owner/name@revision", or take it from the cache.

    Raises:
        WeightsError: It is not to be had, or huggingface_hub is not installed.
    """
    try:
        hub = importlib.import_module("huggingface_hub")
    except ModuleNotFoundError as error:
        raise WeightsError(
            "weights from the hub need huggingface_hub: pip install 'darefine[hub]', or download the file "
            "and give its path"
        ) from error
    name, _, revision = repository.partition("@")
    try:
        return Path(hub.hf_hub_download(name, file, **({"revision": revision} if revision else {})))
    except (
        OSError,
        ValueError,
    ) as error:  # what the hub raises for no network, no such name and no permission
        said = " ".join(str(error).split()).rstrip(".")
        raise WeightsError(
            f"cannot get {file} of {repository} from the hub ({type(error).__name__}: {said}). Check the "
            "name and the connection, or download the file elsewhere and give its path."
        ) from error
