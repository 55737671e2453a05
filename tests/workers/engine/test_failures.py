"""Exceptions as problems."""

from workers.engine.failures import INTERNAL, problem_of
from workers.errors import NotEnoughDiskError
from wsi.errors import SlideUnreadableError


def test_an_expected_error_keeps_its_message_and_gets_its_own_type(tmp_path) -> None:
    problem = problem_of(SlideUnreadableError("Tile 7 is damaged; scan again."))
    assert (problem.type, problem.detail) == ("slide-unreadable", "Tile 7 is damaged; scan again.")
    full = problem_of(NotEnoughDiskError(needed=3 * 10**9, free=10**9, directory=tmp_path))
    assert full.type == "not-enough-disk"
    assert "3.00 GB" in full.detail


def test_an_unexpected_error_is_internal_and_names_its_class() -> None:
    problem = problem_of(KeyError("levels"))
    assert problem.type == INTERNAL
    assert "KeyError" in problem.detail
