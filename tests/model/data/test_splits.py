"""Splits into slides to train on, to validate on and to test on."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.data.splits import BACH_SPLITS, Split, own_split
from model.errors import CohortError

NAMES = ["a", "b", "c", "d", "e"]


@pytest.mark.parametrize("split", BACH_SPLITS.values(), ids=BACH_SPLITS)
def test_no_slide_of_a_split_is_in_two_sets(split: Split) -> None:
    names = (*split.train, *split.validation, *split.test)
    assert len(set(names)) == len(names)
    assert set(names) <= {f"A{number:02}" for number in range(1, 11)}


def test_named_slides_are_held_out() -> None:
    assert own_split(NAMES, "b, d", "a", seed=1) == Split(("c", "e"), ("b", "d"), ("a",))
    assert own_split(NAMES, "b", "", seed=1) == Split(("a", "c", "d", "e"), ("b",), ())


@given(st.integers(0, 1000), st.sampled_from(["0.2", "0.4", "c"]), st.sampled_from(["0.2", "", "a,b"]))
def test_every_slide_is_in_one_set_and_the_same_seed_gives_the_same(
    seed: int, validation: str, test: str
) -> None:
    split = own_split(NAMES, validation, test, seed=seed)
    assert sorted((*split.train, *split.validation, *split.test)) == NAMES
    assert len(split.validation) == {"0.2": 1, "0.4": 2, "c": 1}[validation]
    assert len(split.test) == {"0.2": 1, "": 0, "a,b": 2}[test]
    assert own_split(NAMES, validation, test, seed=seed) == split


@pytest.mark.parametrize(
    ("validation", "test", "message"),
    [
        ("z", "", "z: no such slide"),
        ("a,a", "", "twice"),
        ("a", "b,a", "twice"),
        ("a,b,c", "0.4", "hold out some"),
        ("", "a", "others for --validation"),
    ],
)
def test_splits_that_cannot_be_are_refused(validation: str, test: str, message: str) -> None:
    with pytest.raises(CohortError, match=message):
        own_split(NAMES, validation, test, seed=1)
