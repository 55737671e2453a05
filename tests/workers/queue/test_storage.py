"""Tokens of data folders."""

from pathlib import Path

from workers.queue.storage import TOKEN, read_token, storage_token


def test_a_folder_keeps_its_token_and_another_has_another(tmp_path: Path) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    assert read_token(one) == ""
    token = storage_token(one)
    assert token
    assert storage_token(one) == read_token(one) == token
    assert storage_token(other) != token


def test_a_token_that_was_never_written_is_made_anew(tmp_path: Path) -> None:
    (tmp_path / TOKEN).touch()
    token = storage_token(tmp_path)
    assert token
    assert read_token(tmp_path) == token


def test_a_folder_that_takes_no_file_has_none(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert storage_token(tmp_path / "file") == ""
