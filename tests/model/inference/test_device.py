"""Which precision where."""

import pytest
import torch

from model.errors import DeviceError
from model.inference import device as device_module
from model.inference.device import choose_device, choose_precision, computing_on

CPU = torch.device("cpu")


@pytest.mark.parametrize(("native", "expected"), [(True, "bf16"), (False, "fp32")])
def test_auto_takes_bf16_only_from_a_cpu_that_has_it(
    monkeypatch: pytest.MonkeyPatch, native: bool, expected: str
) -> None:
    monkeypatch.setattr(device_module, "cpu_has_bf16", lambda: native)
    assert choose_precision("auto", CPU) == expected


@pytest.mark.parametrize(("native", "expected"), [(True, "bf16"), (False, "fp16")])
def test_auto_on_a_gpu_falls_back_to_fp16(
    monkeypatch: pytest.MonkeyPatch, native: bool, expected: str
) -> None:
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: native)
    assert choose_precision("auto", torch.device("cuda")) == expected


def test_a_cpu_that_pytorch_knows_nothing_of_has_no_bf16(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device_module.torch, "cpu", object())
    assert device_module.cpu_has_bf16() is False


def test_explicit_choices_are_kept() -> None:
    assert choose_precision("bf16", CPU) == "bf16"
    assert choose_device("cpu") == CPU


@pytest.mark.parametrize("name", ["fp8", "fp16"])
def test_precisions_that_cannot_be_are_refused(name: str) -> None:
    with pytest.raises(DeviceError):
        choose_precision(name, CPU)


@pytest.mark.parametrize("name", ["cuda:99", "toaster"])
def test_devices_that_are_not_here_are_refused(name: str) -> None:
    with pytest.raises(DeviceError, match="Use auto or cpu"):
        choose_device(name)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_fp32_on_a_gpu_is_fp32_and_a_training_keeps_its_own_flags() -> None:
    before = torch.backends.cudnn.allow_tf32
    images, kernel = torch.randn(1, 64, 32, 32, dtype=torch.float64), torch.randn(64, 64, 3, 3).double()
    with computing_on(torch.device("cuda")):
        found = torch.conv2d(images.float().cuda(), kernel.float().cuda())
    exact = torch.conv2d(images, kernel)
    assert (found.cpu() - exact).abs().max() < 1e-3 * exact.std()
    assert torch.backends.cudnn.allow_tf32 == before


def test_on_a_cpu_no_flag_is_touched(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.cudnn, "flags", None)
    with computing_on(CPU):
        pass
