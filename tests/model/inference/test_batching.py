"""Batch sizes, and memory that runs out."""

import pytest
import torch

from model.errors import DeviceMemoryError
from model.inference import batching
from model.inference.batching import Batching, largest_batch, with_second_try

CPU, GPU = torch.device("cpu"), torch.device("cuda")


class Passes:
    """Notes the passes it is asked for; more than `limit` slices at once do not fit."""

    def __init__(self, limit: int = 1000) -> None:
        self.limit = limit
        self.done: list[tuple[int, int]] = []

    def __call__(self, start: int, stop: int) -> None:
        if stop - start > self.limit:
            raise torch.OutOfMemoryError("tried to allocate 7 GiB")
        self.done.append((start, stop))


def test_slices_go_in_even_batches_of_at_most_what_was_asked() -> None:
    passes, batches = Passes(), Batching(3, CPU)
    assert batches.size("geometry") is None
    batches.run(7, "geometry", passes)
    assert passes.done == [(0, 3), (3, 5), (5, 7)]
    assert batches.size("geometry") == 3


def test_a_cpu_takes_four() -> None:
    passes = Passes()
    Batching("auto", CPU).run(5, "geometry", passes)
    assert passes.done == [(0, 3), (3, 5)]


@pytest.mark.parametrize("count", range(2, 26))
@pytest.mark.parametrize("size", range(3, 9))
def test_no_slice_goes_alone(count: int, size: int) -> None:
    passes = Passes()
    Batching(size, CPU).run(count, "geometry", passes)
    assert {stop - start for start, stop in passes.done} <= set(range(2, size + 1))
    assert [start for start, _ in passes.done[1:]] == [stop for _, stop in passes.done[:-1]]
    assert (passes.done[0][0], passes.done[-1][1]) == (0, count)


def test_a_compiled_network_sees_one_size_only() -> None:
    passes = Passes()
    Batching(3, CPU, padded=True).run(7, "geometry", passes)
    assert passes.done == [(0, 3), (3, 6), (6, 9)]


@pytest.mark.parametrize(("window_px", "size"), [(320, 4), (640, 4), (1024, 4), (1408, 1), (2688, 1)])
def test_larger_windows_go_in_smaller_passes(window_px: int, size: int) -> None:
    calls: list[tuple[int, int]] = []
    batching = Batching("auto", CPU)
    batching.run(4, "shape", lambda start, stop: calls.append((start, stop)), window_px=window_px)
    assert calls == [(start, start + size) for start in range(0, 4, size)]


def test_when_memory_runs_out_the_same_slices_go_on_in_smaller_batches_for_good() -> None:
    passes, batches = Passes(limit=2), Batching(8, CPU)
    batches.run(5, "geometry", passes)
    batches.run(2, "geometry", passes)
    assert passes.done == [(0, 2), (2, 4), (4, 5), (0, 2)]
    assert batches.size("geometry") == 2


def test_when_one_slice_does_not_fit_the_error_says_what_to_do() -> None:
    with pytest.raises(DeviceMemoryError, match=r"of cpu .* one slice. .* bf16 .* 7 GiB"):
        Batching(4, CPU).run(5, "geometry", Passes(limit=0))


@pytest.mark.parametrize(
    ("one", "two", "free", "size"),
    [
        (300, 500, 2000, 4),  # 0.8 * 2000 holds 300 and six more of 200
        (300, 500, 2125, 8),  # and seven more
        (300, 500, 100, 1),  # even one may not fit: the pass itself will say
        (300, 300, 2000, 32),
        (3, 5, 10**9, 32),
    ],
)
def test_the_largest_power_of_two_that_fits_is_taken(one: int, two: int, free: int, size: int) -> None:
    assert largest_batch(one, two, free) == size


def test_on_a_gpu_two_trial_passes_decide_once_a_geometry(monkeypatch: pytest.MonkeyPatch) -> None:
    trials = []

    def peak_bytes(device: torch.device, run_pass: object, size: int) -> int:
        trials.append((device, size))
        return 100 + 200 * size

    monkeypatch.setattr(batching, "peak_bytes", peak_bytes)
    monkeypatch.setattr(batching, "free_bytes", lambda _: 2200)
    passes, batches = Passes(), Batching("auto", GPU)
    batches.run(10, "geometry", passes)
    batches.run(1, "geometry", passes)
    assert passes.done == [(0, 5), (5, 10), (0, 1)]
    assert trials == [(GPU, 1), (GPU, 2)]


def test_what_runs_out_of_memory_once_gets_a_second_try() -> None:
    attempts = []

    def work() -> str:
        attempts.append(1)
        if len(attempts) < failures + 1:
            raise torch.OutOfMemoryError("tried to allocate 7 GiB")
        return "done"

    failures = 1
    assert with_second_try(work, CPU) == "done"
    attempts.clear()
    failures = 2
    with pytest.raises(DeviceMemoryError, match="7 GiB"):
        with_second_try(work, CPU)
    assert len(attempts) == 2
