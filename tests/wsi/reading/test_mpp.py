"""The pixel size: the first source with a sane value wins."""

import pytest

from wsi.errors import MppOutOfRangeError
from wsi.reading.mpp import Mpp, resolve_mpp


def test_sources_in_order() -> None:
    sources = {"vendor": (0.25, 0.25), "tiff_resolution": (0.3, 0.3), "objective_power": 20.0}

    assert resolve_mpp(request=0.4, **sources) == Mpp(0.4, "request")
    assert resolve_mpp(**sources) == Mpp(0.25, "vendor")
    assert resolve_mpp(**{**sources, "vendor": None}) == Mpp(0.3, "tiff-resolution")
    assert resolve_mpp(objective_power=20.0) == Mpp(0.5, "objective-power")
    assert resolve_mpp() is None


@pytest.mark.parametrize("absurd", [0.0, -0.499, 9e99, 352.78, 1000.0, float("nan"), float("inf")])
def test_absurd_values_fall_through_to_the_next_source(absurd: float) -> None:
    assert resolve_mpp(vendor=(absurd, absurd), tiff_resolution=(0.3, 0.3)) == Mpp(0.3, "tiff-resolution")
    assert resolve_mpp(tiff_resolution=(absurd, 0.3), objective_power=40.0) == Mpp(0.25, "objective-power")


@pytest.mark.parametrize("absurd", [0.0, -0.25, 250.0, float("nan")])
def test_an_absurd_request_is_told_what_to_send(absurd: float) -> None:
    with pytest.raises(MppOutOfRangeError, match=r"send 0\.05 to 5"):
        resolve_mpp(request=absurd, vendor=(0.25, 0.25))


def test_sides_are_averaged_unless_they_differ_by_more_than_ten_percent() -> None:
    assert resolve_mpp(vendor=(0.49, 0.51)) == Mpp(0.5, "vendor")
    assert resolve_mpp(vendor=(0.4, 0.5)) is None


@pytest.mark.parametrize("power", [1.25, 7.0, 63.0])
def test_only_typical_objectives_are_a_guess(power: float) -> None:
    assert resolve_mpp(objective_power=power) is None
