"""Networks of ours as ONNX files: the same labels, from the same pixels, through another program."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest

from model.card import CardWeights, ModelCard, NetworkConfig
from model.errors import CardError, WeightsError
from model.inference.onnx_export import export_onnx_folder
from model.inference.segmenter import Segmenter
from model.network.build import build_network
from model.network.init import initialise
from model.weights import save_weights
from tests.darefine.tiny_card import write_tiny_card
from wsi.geometry import Size
from wsi.grid import InputGeometry, make_grid

SMALL = {"encoder_depth": 18, "encoder_width": 8, "context_depth": 18, "decoder_width": 8}
NETWORKS = {
    "unet": NetworkConfig(architecture="unet", encoder_width=8, second_input="single"),
    "light": NetworkConfig(decoder="light", **SMALL),  # type: ignore[arg-type]
    "aligned": NetworkConfig(second_input="aligned", **SMALL),  # type: ignore[arg-type]
    "hooked": NetworkConfig(second_input="hooked", **SMALL),  # type: ignore[arg-type]
    "multi-size": NetworkConfig(second_input="multi-size", **SMALL),  # type: ignore[arg-type]
}


def written(folder: Path, name: str, geometry: InputGeometry) -> Path:
    """A card of one of NETWORKS, with random weights."""
    config = NETWORKS[name]
    path = write_tiny_card(folder, mpp=geometry.mpp)
    network = build_network(config, 4)
    initialise(network, 1)
    weights = CardWeights("tiny.safetensors", save_weights(network, folder / "tiny.safetensors"), "float16")
    replace(ModelCard.load(path), network=config, input=geometry, weights=weights).save(path)
    return path


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "geometry", "inputs"),
    [
        ("unet", InputGeometry(1.0, 5, 2, 16), ["window"]),
        ("light", InputGeometry(1.0, 5, 2, 16), ["window", "context"]),
        (
            "aligned",
            InputGeometry(1.0, 8, 2, 16, "centred"),
            ["window", "context", "boxes", "context_boxes"],
        ),
        ("hooked", InputGeometry(1.0, 8, 2, 16), ["window", "context", "boxes"]),
    ],
)
def test_labels_are_ours(tmp_path: Path, name: str, geometry: InputGeometry, inputs: list[str]) -> None:
    path = written(tmp_path, name, geometry)
    card = export_onnx_folder(path, tmp_path / "out")
    assert card == ModelCard.load(tmp_path / "out" / "config.json")
    assert (card.name, card.classes, card.input) == ("tiny-onnx", ModelCard.load(path).classes, geometry)
    graph = onnx.load(tmp_path / "out" / "model.onnx")
    assert [port.name for port in graph.graph.input] == inputs
    assert {one.domain: one.version for one in graph.opset_import} == {"": 18}

    view = make_grid(Size(1100, 1100), 1.0, geometry).patch_view(0, ((0, 0), (1, 0), (1, 1)))
    noise = np.random.default_rng(0)
    region = noise.integers(0, 256, (view.region.height, view.region.width, 3), np.uint8)
    field = noise.integers(0, 256, (view.context_network_px, view.context_network_px, 3), np.uint8)
    ours, theirs = (
        Segmenter.load(card, device="cpu", precision="fp32").label_patch(
            region, view, context=field if view.context_windows else None
        )
        for card in (path, tmp_path / "out" / "config.json")
    )
    assert len(np.unique(ours)) > 1
    assert np.mean(ours == theirs) >= 0.999


def test_what_cannot_be_written_is_refused_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    geometry = InputGeometry(1.0, 5, 1, 16)
    with pytest.raises(CardError, match="multi-size, which cannot be written as ONNX"):
        export_onnx_folder(written(tmp_path, "multi-size", geometry), tmp_path / "out")
    path = written(tmp_path, "unet", geometry)
    monkeypatch.setitem(__import__("sys").modules, "onnxscript", None)
    with pytest.raises(WeightsError, match=r"pip install 'darefine\[onnx\]'"):
        export_onnx_folder(path, tmp_path / "out")
    assert not list((tmp_path / "out").iterdir())


def test_a_graph_that_computes_something_else_is_not_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = written(tmp_path, "unet", InputGeometry(1.0, 5, 1, 16))

    def wrong(_network: object, _card: object, out: Path) -> None:
        image = onnx.helper.make_tensor_value_info("window", onnx.TensorProto.FLOAT, ("n", 3, "h", "w"))
        logits = onnx.helper.make_tensor_value_info("logits", onnx.TensorProto.FLOAT, ("n", 4, "h", "w"))
        kernel = onnx.numpy_helper.from_array(np.ones((4, 3, 1, 1), np.float32), "kernel")
        node = onnx.helper.make_node("Conv", ["window", "kernel"], ["logits"])
        graph = onnx.helper.make_graph([node], "wrong", [image], [logits], [kernel])
        opset = [onnx.helper.make_opsetid("", 18)]
        onnx.save(onnx.helper.make_model(graph, opset_imports=opset, ir_version=9), str(out))

    monkeypatch.setattr("model.inference.onnx_export._export", wrong)
    with pytest.raises(WeightsError, match="does not compute what the network does"):
        export_onnx_folder(path, tmp_path / "out")
    assert not list((tmp_path / "out").iterdir())
