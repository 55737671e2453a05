"""The small measurements behind decisions: what they compare is the same work."""

from importlib.util import find_spec

import click
import numpy as np
import pytest
import torch
from click.testing import CliRunner

from benchmarks.decisions import (
    around_the_network,
    cell_means,
    context_mean,
    half_precision,
    int8_runtimes,
    less_work,
    onednn_convolutions,
    operators,
    phantom_cues,
    regions,
    row_column_pooling,
    scaled_jpeg,
    zoomed_out,
)
from benchmarks.decisions.fastest import fastest_ms
from benchmarks.decisions.memory_and_threads import pass_ms


def test_variants_take_turns_after_a_round_that_does_not_count() -> None:
    order: list[str] = []
    times = fastest_ms({name: lambda name=name: order.append(name) for name in "ab"}, 2)
    assert order == list("ababab")
    assert set(times) == {"a", "b"}


def test_contexts_agree() -> None:
    region = torch.randint(0, 256, (40, 40, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    contexts = [way(region, 8) for way in context_mean.WAYS.values()]
    for context in contexts[1:]:
        torch.testing.assert_close(context, contexts[0], atol=1.01, rtol=0)


def test_both_ways_to_average_an_overview_agree() -> None:
    overview = np.random.default_rng(1).integers(0, 256, (67, 67, 3), np.uint8)
    lines, products = cell_means.by_lines(overview, 25), cell_means.by_products(overview, 25)
    np.testing.assert_allclose(lines, products, atol=1e-3)


def test_both_ways_to_half_a_tile_agree(tmp_path) -> None:
    from wsi.phantom import write_phantom

    tiles = scaled_jpeg.tiles_of(write_phantom(tmp_path / "phantom.tif", size_px=2560, seed=1).slide)
    assert len(tiles) == 64
    apart = np.abs(scaled_jpeg.scaled(tiles[0]).astype(int) - scaled_jpeg.averaged(tiles[0]))
    assert apart.shape == (128, 128, 3)
    assert apart.mean() < 1


@pytest.mark.parametrize(
    ("command", "options"),
    [
        (cell_means.main, []),
        (context_mean.main, []),
        (row_column_pooling.main, ["--channels", "8", "--threads", "1", "--no-keep-memory"]),
    ],
)
def test_a_measurement_prints_its_table(command: click.Command, options: list[str]) -> None:
    result = CliRunner().invoke(command, ["--repeats", "1", *options], catch_exceptions=False)
    lines = result.output.splitlines()
    assert lines[0].startswith("|")
    assert "torch" in lines[-1]
    if command is row_column_pooling.main:
        assert sum(line.endswith("| yes         |") for line in lines) == 8  # two precisions, four strides


def test_operators_are_timed_in_both_precisions() -> None:
    result = CliRunner().invoke(half_precision.main, ["--rounds", "1", "--side", "8"], catch_exceptions=False)
    rows = [line.split("|")[1:-1] for line in result.output.splitlines() if line.startswith("| ")]
    assert len(rows) == 1 + 3 * 5
    assert [row[0].strip() for row in rows[1:] if row[5].strip()] == ["3x3 pool of stride 2"] * 3


@pytest.mark.slow
def test_less_work_gives_the_same_bits() -> None:
    arguments = ["--rounds", "1", "--window", "256", "--network", "demo"]
    result = CliRunner().invoke(less_work.main, arguments, catch_exceptions=False)
    rows = [line for line in result.output.splitlines() if line.startswith("| demo")]
    assert len(rows) in {4, 8}
    assert all(row.endswith("| yes       |") for row in rows)


@pytest.mark.slow
def test_shares_of_operators_add_up() -> None:
    arguments = ["--rounds", "1", "--network", "demo"]
    result = CliRunner().invoke(operators.main, arguments, catch_exceptions=False)
    rows = [line.split("|")[1:-1] for line in result.output.splitlines() if line.startswith("| ")]
    (_, whole, _, pace), *parts = rows[1 : 2 + operators.SHOWN + 1]
    assert sum(float(own) for _, own, _, _ in parts) == pytest.approx(float(whole), rel=0.02)
    assert float(pace) > 0
    assert any(name.strip() == "mkldnn_convolution" for name, *_ in parts)


@pytest.mark.slow
def test_convolutions_are_timed_on_one_thread_and_two() -> None:
    arguments = ["--rounds", "1", "--network", "demo"]
    result = CliRunner().invoke(onednn_convolutions.main, arguments, catch_exceptions=False)
    assert [line.split("|")[2].strip() for line in result.output.splitlines()[2:4]] == ["1", "2"]


@pytest.mark.slow
def test_int8_is_timed_in_each_runtime() -> None:
    # Looked for, not imported: some of them report that.
    if not all(map(find_spec, ("nncf", "onnxscript", "openvino"))):
        pytest.skip("an extra is not installed")
    samples, flat = int8_runtimes.graph_of(less_work.Case("demo", less_work.DEMO, 1), window_px=256)
    with torch.inference_mode():
        expected = flat(*map(torch.from_numpy, samples[0])).numpy()
    for found in (
        int8_runtimes.openvino_pass(flat, samples)(),
        int8_runtimes.onnxruntime_pass(flat, samples)()[0],
    ):
        assert found.shape == expected.shape
        error = np.abs(found - expected).mean() / np.abs(expected).mean()
        assert 0 < error < 0.05, "the same network, and not in fp32"


def test_a_pass_is_timed_in_a_process_of_its_own() -> None:
    assert pass_ms("kept", "3000 spins", 1) > 0


def test_polygons_are_measured(tmp_path) -> None:
    result = CliRunner().invoke(regions.main, ["--size", "4096"], catch_exceptions=False)
    rows = [line.split("|")[1:-1] for line in result.output.splitlines() if line.startswith("|")]
    slide, ways = rows[2], rows[5:]
    assert int(slide[1]) > 1
    assert float(slide[4]) > 0
    arcs, by_area = ([float(cell) for cell in row[1:]] for row in ways)
    assert arcs[0] < by_area[0]
    assert arcs[2] <= regions.TOLERANCE_PX


def test_normalisation_and_argmax_have_the_bits_that_they_had() -> None:
    result = CliRunner().invoke(around_the_network.main, ["--rounds", "1"], catch_exceptions=False)
    rows = [line.split("|")[1:-1] for line in result.output.splitlines() if line.startswith("| ")]
    assert [(row[0].strip(), row[-1].strip()) for row in rows[1:]] == [
        ("normalisation", "yes"),
        ("argmax", "yes"),
    ]


def test_a_classifier_of_structures_knows_glands_from_nests() -> None:
    features, classes = phantom_cues.slices_of(3)
    assert features.shape == (len(classes), 16)
    assert len(set(classes.tolist())) > 2
    _, pair = phantom_cues.accuracies((features, classes), (features, classes), [0, 1, 2, 3], steps=200)
    assert pair > 0.8


def test_starts_take_the_same_number_of_steps_and_differ_where_they_say() -> None:
    full, slower, zoomed = zoomed_out.starts(1000, seed=1).values()
    assert full.steps == slower.steps == zoomed.steps == 640
    assert (full.stages, full.learning_rate) == (slower.stages, 2 * slower.learning_rate)
    assert zoomed.stages[-1] == full.stages[-1]
    assert [stage.batch.scales for stage in full.stages] == [(1.0, 1.0)] * 2
