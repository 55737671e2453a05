"""docs/onnx.md as a lab follows it: a U-Net is exported by the page's lines, and served."""

import json
import re
from dataclasses import replace
from pathlib import Path

import httpx
import numpy as np
import pytest
import tifffile

from darefine.client import Client
from model.card import CardWeights, ModelCard, NetworkConfig
from model.network.build import build_network
from model.network.init import initialise
from model.weights import save_weights
from wsi.phantom import PhantomFiles

from .conftest import started_service

pytestmark = pytest.mark.e2e

PAGE = Path(__file__).parents[2] / "docs" / "onnx.md"


def block(name: str) -> str:
    """The code of the page under a comment with this name."""
    found = re.search(rf"<!-- {name} -->\n```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert found is not None, name
    return found[1]


@pytest.fixture
def cards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Folder of the page's card and file, and of the same network as one of ours, `in-torch`."""
    monkeypatch.chdir(tmp_path)
    config = NetworkConfig(architecture="unet", encoder_width=8, second_input="single")
    network = build_network(config, 3)
    initialise(network, 3)
    digest = save_weights(network, tmp_path / "in-torch.safetensors", "float32")
    names: dict[str, object] = {"network": network}
    for name in ("export", "card"):
        exec(block(name), names)
    lab = ModelCard.load(tmp_path / "lab-unet.json")
    weights = CardWeights("in-torch.safetensors", digest, "float32")
    in_torch = replace(lab, name="in-torch", network=config, onnx=None, weights=weights)
    in_torch.save(tmp_path / "in-torch.json")
    return tmp_path


# torch's exporter warns of itself.
@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_a_labs_own_network_is_served(cards: Path, small_phantom: PhantomFiles, tmp_path: Path) -> None:
    assert len(block("export").split("\n\n")[-1].splitlines()) < 10
    environment = {"DAREFINE_PRECISION": "fp32", "DAREFINE_DEVICE": "cpu"}
    results, maps = [], []
    log = tmp_path / "service.log"
    with (
        started_service(tmp_path / "state", cards / "lab-unet.json", log, environment) as service,
        Client(service.url) as client,
    ):
        served = {card["name"]: card for card in httpx.get(f"{service.url}/v1/models").json()["models"]}
        slide = client.upload(small_phantom.slide)
        for model in ("lab-unet", "in-torch"):
            job = client.submit(slide.id, model=model)
            *_, job = client.follow(job.id)
            assert job.state == "succeeded", job
            paths = client.download_results(job.id, tmp_path / "out")
            results.append(json.loads(paths["result.json"].read_text()))
            maps.append(tifffile.imread(paths["labels.tif"]))
    assert served["lab-unet"]["licence"] == "CC-BY-4.0"
    assert [one["name"] for one in results[0]["classes"]] == ["other", "stroma", "tumour"]
    assert results[0]["backend"].startswith("onnxruntime 1.")
    assert results[1]["backend"] == "torch"
    assert np.count_nonzero(maps[1]) > 0
    assert len(np.unique(maps[1])) > 2
    assert np.mean(maps[0] == maps[1]) >= 0.999
