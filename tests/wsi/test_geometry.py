"""Rectangles."""

import pytest

from wsi.geometry import Rect, Size, ceil_div


def test_rectangles_that_do_not_meet_have_an_empty_intersection() -> None:
    assert Rect(0, 0, 4, 4).intersect(Rect(10, 0, 4, 4)).is_empty


def test_intersection_is_what_both_hold() -> None:
    assert Rect(-3, 2, 10, 10).intersect(Rect(0, 0, 5, 5)) == Rect(0, 2, 5, 3)


def test_scaling_moving_and_growing() -> None:
    rect = Rect(1, -2, 3, 4)

    assert rect.scaled(3) == Rect(3, -6, 9, 12)
    assert rect.moved(1, 1) == Rect(2, -1, 3, 4)
    assert rect.grown(2) == Rect(-1, -4, 7, 8)
    assert (rect.right, rect.bottom, rect.size) == (4, 2, Size(3, 4))


@pytest.mark.parametrize(("number", "expected"), [(0, 0), (1, 1), (512, 1), (513, 2)])
def test_division_rounds_up(number: int, expected: int) -> None:
    assert ceil_div(number, 512) == expected
