"""Which precision where."""

import pytest
import torch

from model import device as device_module
from model.device import choose_device, choose_precision
from model.errors import DeviceError

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
