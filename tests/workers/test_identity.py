"""What the labels of a job depend on, as a value."""

from dataclasses import fields, replace

import pytest

from workers.errors import RecordInvalidError
from workers.identity import LabelIdentity

MINE = LabelIdentity(
    slide={"content": "ab" * 32, "bounds": [0, 1]},
    model={"sha256": "cd" * 32},
    parameters={"mpp": None, "tissue": True},
    device="cpu AVX512",
    dtype="float32",
    backend="torch 2.9.0",
    software="darefine 0.1.0",
)

CHANGES = {
    "slide": {"content": "00" * 32},
    "model": {"sha256": "00" * 32},
    "parameters": {"mpp": 0.5},
    "device": "cpu AVX2",
    "dtype": "bfloat16",
    "backend": "onnxruntime 1.20.0",
    "software": "darefine 9",
    "compiled": True,
    "batch_size": 8,
}


def test_it_reads_back_and_is_named_by_its_content() -> None:
    again = LabelIdentity.from_json(MINE.to_json())
    assert again == MINE
    assert again.digest == MINE.digest
    assert len(MINE.digest) == 16


def test_every_member_makes_another_folder() -> None:
    assert set(CHANGES) == {field.name for field in fields(LabelIdentity)}, "state here what was added"
    digests = {replace(MINE, **{name: value}).digest for name, value in CHANGES.items()}
    assert len(digests | {MINE.digest}) == len(CHANGES) + 1


def test_hosts_do_not_change_of_what_job_it_is() -> None:
    of_job = {"slide", "model", "parameters"}
    for name, value in CHANGES.items():
        assert MINE.is_of_job(replace(MINE, **{name: value})) is (name not in of_job)


def test_members_of_some_hosts_only_are_left_out_where_they_are_empty() -> None:
    assert {"compiled", "batch_size"}.isdisjoint(MINE.members())


@pytest.mark.parametrize("encoded", ["", "null", '{"device": 3}'])
def test_another_form_is_refused(encoded: str) -> None:
    with pytest.raises(RecordInvalidError):
        LabelIdentity.from_json(encoded)
