"""Networks in ONNX files: what goes into the graph, and what is made of what comes out."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from onnx import TensorProto, helper

from model.card import ModelCard, NetworkConfig, Normalisation
from model.errors import CardError, DeviceError, InputError, WeightsError
from model.inference.probabilities import calibrated_softmax
from model.inference.segmenter import Segmenter
from model.onnx_graph import OnnxGraph
from wsi.geometry import Size
from wsi.grid import InputGeometry, make_grid
from wsi.palette import LabelClass
from wsi.patch_view import PatchView

from .onnx_graphs import FLOAT, brightest_channel, model_of, write_card
from .test_segmenter import VIEW, WINDOWS

RAW = Normalisation((0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
SHIFTED = Normalisation((0.5, 0.25, 0.125), (0.5, 0.25, 1.0))
Pixels = NDArray[np.uint8]


@pytest.fixture
def pixels() -> Pixels:
    return np.random.default_rng(0).integers(0, 256, (160, 160, 3), dtype=np.uint8)


def centres(pixels: Pixels) -> NDArray[np.float64]:
    """(N, 32, 32, 3) of 0..1: what VIEW keeps."""
    return np.stack([pixels[y + 16 : y + 48, x + 16 : x + 48] for x, y in WINDOWS]) / 255


def load(path: Path, **options: Any) -> Segmenter:
    return Segmenter.load(path, device="cpu", **options)


@pytest.mark.parametrize(
    ("graph", "stated", "normalisation"),
    [
        ({}, {}, RAW),
        ({}, {}, SHIFTED),
        ({"head": "Softmax"}, {"output": "softmax"}, SHIFTED),
        ({"head": "Sigmoid"}, {"output": "sigmoid"}, SHIFTED),
        ({"head": "ArgMax"}, {"output": "labels"}, SHIFTED),
        ({"layout": "NHWC"}, {"layout": "NHWC"}, SHIFTED),
        ({"layout": "NHWC", "head": "ArgMax"}, {"layout": "NHWC", "output": "labels"}, SHIFTED),
        ({"channels": (2, 1, 0)}, {"channels": "BGR"}, SHIFTED),
        ({"bias": (0, 0, 60)}, {"values": "0..255"}, RAW),
        ({"bias": (0, 0, 60), "dtype": TensorProto.UINT8}, {"values": "0..255"}, RAW),
        ({"batch": 2}, {}, SHIFTED),
        ({"batch": 1}, {}, SHIFTED),
        ({"side": 64}, {}, SHIFTED),
        ({"side": 48, "batch": 3}, {}, SHIFTED),
        ({"dtype": TensorProto.DOUBLE}, {}, SHIFTED),
    ],
)
def test_labels_are_those_of_the_graph(
    card: ModelCard,
    pixels: Pixels,
    tmp_path: Path,
    graph: dict[str, Any],
    stated: dict[str, Any],
    normalisation: Normalisation,
) -> None:
    path = write_card(
        tmp_path, card, brightest_channel(**graph), onnx=OnnxGraph(**stated), normalisation=normalisation
    )
    values = (centres(pixels) - normalisation.mean) / normalisation.std
    expected = (values + np.array(graph.get("bias", (0, 0, 0))) / 255).argmax(3) + 1
    labels = load(path).label_patch(pixels, VIEW)
    # Equal values of two channels may round either way.
    assert (labels == expected).mean() > 0.995
    assert len(np.unique(labels)) == 3


@pytest.mark.parametrize("head", ["", "Sigmoid"])
def test_a_single_score_is_that_of_the_second_of_two_classes(
    card: ModelCard, pixels: Pixels, tmp_path: Path, head: str
) -> None:
    two = (LabelClass(1, "rest", (0, 0, 0)), LabelClass(2, "red", (255, 0, 0)))
    stated = OnnxGraph(output="sigmoid" if head else "logits")
    graph = brightest_channel(head=head, channels=(0,), bias=(-0.5,))
    segmenter = load(write_card(tmp_path, card, graph, classes=two, onnx=stated))
    red = centres(pixels)[..., 0]
    assert (segmenter.label_patch(pixels, VIEW) == np.where(red > 0.5, 2, 1)).mean() > 0.999
    probabilities = calibrated_softmax(torch.from_numpy(segmenter.logits(pixels, VIEW)), segmenter.card)
    np.testing.assert_allclose(probabilities[:, 1], 1 / (1 + np.exp(0.5 - red)), atol=1e-5)


@pytest.mark.parametrize(("head", "output"), [("", "logits"), ("Softmax", "softmax")])
def test_probabilities_are_those_of_the_graph(
    card: ModelCard, pixels: Pixels, tmp_path: Path, head: str, output: Any
) -> None:
    path = write_card(tmp_path, card, brightest_channel(head=head), onnx=OnnxGraph(output=output))
    segmenter = load(path)
    probabilities = calibrated_softmax(torch.from_numpy(segmenter.logits(pixels, VIEW)), segmenter.card)
    powers = np.exp(centres(pixels))
    expected = (powers / powers.sum(3, keepdims=True)).transpose(0, 3, 1, 2)
    np.testing.assert_allclose(probabilities, expected, atol=1e-5)


def test_labels_alone_have_no_logits(card: ModelCard, pixels: Pixels, tmp_path: Path) -> None:
    path = write_card(tmp_path, card, brightest_channel(head="ArgMax"), onnx=OnnxGraph(output="labels"))
    assert not ModelCard.load(path).gives_probabilities
    with pytest.raises(InputError, match="labels alone"):
        load(path).logits(pixels, VIEW)


@pytest.mark.parametrize("side", [128, 160, 256, "side"])
def test_a_graph_of_a_fixed_size_sees_windows_in_pieces_that_overlap(
    card: ModelCard, tmp_path: Path, side: int | str
) -> None:
    view = make_grid(Size(512, 512), 0.934, card.input).patch_view(0, ((0, 0),))
    pixels = np.random.default_rng(1).integers(0, 256, (544, 544, 3), dtype=np.uint8)
    labels = {
        name: load(write_card(tmp_path, card, brightest_channel(side=size, kernel_px=9))).logits(pixels, view)
        for name, size in (("pieces", side), ("whole", "side"))
    }
    np.testing.assert_allclose(labels["pieces"], labels["whole"], atol=1e-5)


@pytest.mark.parametrize("threads", [1, 2])
def test_labels_depend_neither_on_the_batch_nor_on_the_threads(
    card: ModelCard, pixels: Pixels, tmp_path: Path, threads: int
) -> None:
    path = write_card(tmp_path, card, brightest_channel(kernel_px=5), normalisation=SHIFTED)
    expected = load(path, batch_size=1).logits(pixels, VIEW)
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        for batch_size in (2, 3, 5):
            np.testing.assert_array_equal(load(path, batch_size=batch_size).logits(pixels, VIEW), expected)
    finally:
        torch.set_num_threads(before)


def with_context(*, contexts: int | str, boxes: bool = False) -> Any:
    """Scores: the mean red of the context, or the left edge of the box, on each pixel; then mean green."""
    nodes = [
        helper.make_node("ReduceMean", ["context", "axes"], ["means"], keepdims=1),
        helper.make_node("Conv", ["window", "zero"], ["plane"]),
        helper.make_node("Slice", ["means", "two", "three", "one"], ["blue"]),
    ]
    inputs: dict[str, Any] = {
        "window": (FLOAT, ("n", 3, "h", "w")),
        "context": (FLOAT, (contexts, 3, "c", "c")),
    }
    weights = {
        "axes": np.array([2, 3]),
        "zero": np.zeros((3, 3, 1, 1), np.float32),
        "one": np.array([1]),
        "two": np.array([2]),
        "three": np.array([3]),
    }
    last = "means"
    if boxes:
        inputs["boxes"] = (FLOAT, ("n", 4))
        nodes += [
            helper.make_node("Slice", ["boxes", "begin", "end", "one"], ["corner"]),
            helper.make_node("Unsqueeze", ["corner", "axes"], ["corners"]),
            helper.make_node("Concat", ["corners", "blue"], ["facts"], axis=1),
        ]
        weights |= {"begin": np.array([0]), "end": np.array([2])}
        last = "facts"
    nodes.append(helper.make_node("Add", ["plane", last], ["scores"]))
    return model_of(nodes, inputs, {"scores": (FLOAT, ("n", 3, "h", "w"))}, weights)


DUAL = NetworkConfig(architecture="onnx", second_input="dual")


@pytest.mark.parametrize("contexts", [1, "n"])
def test_all_slices_of_a_patch_see_the_patch(
    card: ModelCard, pixels: Pixels, tmp_path: Path, contexts: int | str
) -> None:
    path = write_card(tmp_path, card, with_context(contexts=contexts), network=DUAL)
    logits = load(path, batch_size=2).logits(pixels, VIEW)
    assert logits.shape == (5, 3, 32, 32)
    means = pixels.mean((0, 1)) / 255
    np.testing.assert_allclose(logits, np.broadcast_to(means[:, None, None], logits.shape), atol=0.005)


@pytest.fixture
def centred(card: ModelCard) -> tuple[ModelCard, PatchView]:
    geometry = InputGeometry(mpp=0.934, context_ratio=8, slices_per_side=2, halo_px=16, context="centred")
    view = make_grid(Size(1024, 1024), 0.934, geometry).patch_view(0, ((0, 0), (1, 0), (1, 1)))
    return replace(card, input=geometry), view


def test_each_slice_sees_a_context_centred_on_it_and_where_it_lies_in_it(
    centred: tuple[ModelCard, PatchView], tmp_path: Path
) -> None:
    card, view = centred
    region = np.zeros((view.region.height, view.region.width, 3), np.uint8)
    side = view.context_network_px
    context = np.zeros((side, side, 3), np.uint8)
    context[..., 0] = np.linspace(0, 255, side)  # brighter to the right
    context[..., 2] = np.linspace(0, 255, side)[:, None]  # and down
    path = write_card(tmp_path, card, with_context(contexts="n"), network=DUAL)
    logits = load(path, batch_size=2).logits(region, view, context=context)
    boxes = view.context_boxes
    np.testing.assert_allclose(logits[:, 0, 0, 0], (boxes[:, 0] + boxes[:, 2]) / 2, atol=0.01)
    np.testing.assert_allclose(logits[:, 2, 0, 0], (boxes[:, 1] + boxes[:, 3]) / 2, atol=0.01)

    path = write_card(tmp_path, card, with_context(contexts="n", boxes=True), network=DUAL)
    logits = load(path, batch_size=2).logits(region, view, context=context)
    left = (1 - view.window_px / view.context_windows[0].width) / 2
    np.testing.assert_allclose(logits[:, 0, 0, 0], left, atol=1e-3)


def test_the_size_that_a_pass_leaves_over_is_filled_and_thrown_away(
    card: ModelCard, pixels: Pixels, tmp_path: Path
) -> None:
    path = write_card(tmp_path, card, brightest_channel(batch=4))
    assert load(path, batch_size=3).label_patch(pixels, VIEW).shape == (5, 32, 32)


def classes_of(count: int) -> tuple[LabelClass, ...]:
    return tuple(LabelClass(value, f"class {value}", (value, 0, 0)) for value in range(1, count + 1))


@pytest.mark.parametrize(
    ("graph", "changes", "words"),
    [
        (brightest_channel, {"classes": classes_of(4)}, "gives 3 classes .* the card has 4"),
        (lambda: brightest_channel(channels=(0,)), {}, "gives 1 classes .* a single score goes with two"),
        (lambda: brightest_channel(layout="NHWC"), {}, 'set onnx.layout to "NHWC"'),
        (lambda: brightest_channel(head="ArgMax"), {}, 'set onnx.output to "labels"'),
        (lambda: brightest_channel(dtype=TensorProto.UINT8), {}, 'set onnx.values to "0..255", mean to 0'),
        (lambda: brightest_channel(side=640), {}, "windows of 640 px only; .* set input.halo_px to 64"),
        (lambda: brightest_channel(side=1000), {}, "1000 px only; .* 544 px: export it with a dynamic"),
        (lambda: with_context(contexts=1), {}, r'input window|takes a context \(context\).*say "dual"'),
        (brightest_channel, {"network": DUAL}, "no input 'window'; its inputs are image"),
        (
            lambda: with_context(contexts=1),
            {"network": DUAL, "onnx": OnnxGraph(context_input="patch")},
            "has the input context, which nothing here can fill",
        ),
        (
            lambda: with_context(contexts=1),
            {"network": DUAL, "input": InputGeometry(0.934, 8, 2, 16, "centred")},
            'input.context is "centred", where each has its own',
        ),
        (brightest_channel, {"onnx": OnnxGraph(output_name="mask")}, "no output 'mask'"),
    ],
)
def test_a_card_that_does_not_fit_its_graph_is_refused_with_the_cure(
    card: ModelCard, tmp_path: Path, graph: Callable[[], Any], changes: dict[str, Any], words: str
) -> None:
    path = write_card(tmp_path, card, graph(), **changes)
    with pytest.raises(CardError, match=words):
        load(path)


def foreign() -> Any:
    node = helper.make_node("Magic", ["image"], ["out"], domain="my.lab")
    ports = {"image": (FLOAT, ("n", 3, "h", "w"))}
    return model_of([node], ports, {"out": (FLOAT, ("n", 3, "h", "w"))}, {})


def with_tensor_elsewhere(location: str) -> Any:
    graph = brightest_channel()
    tensor = graph.graph.initializer[0]
    tensor.data_location = TensorProto.EXTERNAL
    tensor.raw_data = b""
    entry = tensor.external_data.add()
    entry.key, entry.value = "location", location
    return graph


@pytest.mark.parametrize(
    ("graph", "words"),
    [
        (lambda: b"no protobuf", "is not an ONNX file"),
        (lambda: brightest_channel().SerializeToString()[:-20], "is not an ONNX file|cannot be used"),
        (lambda: brightest_channel(opset=99), "written in opset 99 .* reads up to .* lower opset_version"),
        (lambda: brightest_channel(ir=99), "IR version 99, and onnxruntime .* reads up to"),
        (foreign, "operator my.lab:Magic, which is none of ONNX's own"),
        (lambda: with_tensor_elsewhere("graph.bin"), "'kernel' in another file"),
        (lambda: with_tensor_elsewhere("/etc/passwd"), "external_data=False"),
    ],
)
def test_a_file_that_cannot_be_used_is_refused_with_the_cure(
    card: ModelCard,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    graph: Callable[[], Any],
    words: str,
) -> None:
    # ONNX Runtime would read files of the working directory as weights.
    (tmp_path / "graph.bin").write_bytes(bytes(36))
    monkeypatch.chdir(tmp_path)
    path = write_card(tmp_path, card, graph())
    with pytest.raises(WeightsError, match=words):
        load(path)


def test_a_card_of_a_graph_says_nothing_of_our_networks(card: ModelCard, tmp_path: Path) -> None:
    path = write_card(tmp_path, card, brightest_channel(), licence="MIT")
    stored = json.loads(path.read_text())
    assert stored["network"] == {"architecture": "onnx", "second_input": "single"}
    assert stored["licence"] == "MIT"
    assert ModelCard.load(path).to_json() == stored


def test_another_file_than_the_cards_is_refused(card: ModelCard, tmp_path: Path) -> None:
    path = write_card(tmp_path, card, brightest_channel())
    (tmp_path / "graph.onnx").write_bytes(brightest_channel(bias=(1, 0, 0)).SerializeToString())
    with pytest.raises(WeightsError, match="SHA-256"):
        load(path)


def test_without_onnxruntime_it_is_said_what_to_install(
    card: ModelCard, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_card(tmp_path, card, brightest_channel())
    monkeypatch.setitem(__import__("sys").modules, "onnxruntime", None)
    with pytest.raises(WeightsError, match=r"pip install 'darefine\[onnx\]'"):
        load(path)


def test_device_and_precision_are_those_of_the_graph(card: ModelCard, tmp_path: Path) -> None:
    path = write_card(tmp_path, card, brightest_channel())
    segmenter = load(path, precision="fp32")
    assert (segmenter.device, segmenter.dtype, segmenter.compiled) == ("cpu", "fp32", False)
    assert segmenter.backend.startswith("onnxruntime 1.")
    with pytest.raises(DeviceError, match="computes in fp32, as it was exported, not in bf16"):
        load(path, precision="bf16")
    with pytest.raises(DeviceError, match="runs on the CPU here, not on 'cuda'"):
        Segmenter.load(path, device="cuda")
    with pytest.raises(DeviceError, match="no network in torch"):
        segmenter.network  # noqa: B018


def test_labels_that_are_no_classes_and_other_sizes_fail_in_words(
    card: ModelCard, pixels: Pixels, tmp_path: Path
) -> None:
    path = write_card(
        tmp_path,
        card,
        brightest_channel(head="ArgMax"),
        onnx=OnnxGraph(output="labels"),
        classes=classes_of(2),
    )
    with pytest.raises(InputError, match=r"labels .* of 0 to 2; the card has 2 classes"):
        load(path).label_patch(pixels, VIEW)
