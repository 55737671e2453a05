"""API keys and sessions on disk."""

import stat
import time
from pathlib import Path

import pytest

from service.access.keys import KEYS_FOLDER, KeyStore, Scope
from service.access.sessions import SESSIONS_FOLDER, SessionStore
from service.errors import KeyNameError, KeyUnknownError


@pytest.fixture
def keys(tmp_path: Path) -> KeyStore:
    """No keys yet."""
    return KeyStore(tmp_path / "data")


def test_a_key_is_found_by_its_whole_text_and_by_nothing_else(keys: KeyStore) -> None:
    key, text = keys.add("scanner", Scope.SUBMIT, max_slide_bytes=7, calls_per_minute=8)
    assert keys.find(text) == key
    for wrong in (
        "",
        text[:-1],
        text + "x",
        text.swapcase(),
        key.id,
        key.digest,
        f"darefine_{key.id}_{'A' * 43}",
    ):
        assert keys.find(wrong) is None


def test_no_file_holds_a_key_and_only_its_owner_reads_it(keys: KeyStore, tmp_path: Path) -> None:
    _, text = keys.add("scanner", Scope.READ)
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(files) == 1
    assert text not in files[0].read_text()
    assert text.split("_", 2)[2] not in files[0].read_text()
    assert stat.S_IMODE(files[0].stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "data" / KEYS_FOLDER).stat().st_mode) == 0o700
    assert stat.S_IMODE((tmp_path / "data").stat().st_mode) == 0o700


def test_keys_are_listed_by_age_and_revoked_by_id_or_name(keys: KeyStore) -> None:
    (one, first), (two, second) = keys.add("one", Scope.READ), keys.add("two", Scope.ADMIN)
    assert keys.list() == [one, two]
    keys.revoke(one.id)
    keys.revoke("two")
    assert (keys.list(), keys.find(first), keys.find(second)) == ([], None, None)
    with pytest.raises(KeyUnknownError, match="keys list"):
        keys.revoke("two")


@pytest.mark.parametrize("name", ["", " x", "a\nb", "x" * 61, "../x", "taken"])
def test_a_name_must_stand_in_one_line_and_be_the_only_one(keys: KeyStore, name: str) -> None:
    keys.add("taken", Scope.READ)
    with pytest.raises(KeyNameError):
        keys.add(name, Scope.READ)


def test_an_expired_key_is_listed_but_opens_nothing(keys: KeyStore) -> None:
    key, text = keys.add("visitor", Scope.READ, days=1e-9)
    time.sleep(0.001)
    assert keys.list() == [key]
    assert keys.find(text) is None


def test_a_damaged_key_file_opens_nothing_and_hides_no_other(keys: KeyStore, tmp_path: Path) -> None:
    key, text = keys.add("one", Scope.READ)
    other, _ = keys.add("two", Scope.READ)
    (tmp_path / "data" / KEYS_FOLDER / f"{key.id}.json").write_text("{")
    assert keys.find(text) is None
    assert keys.list() == [other]


def test_scopes_hold_those_before_them() -> None:
    assert [[one.covers(other) for other in Scope] for one in Scope] == [
        [True, False, False],
        [True, True, False],
        [True, True, True],
    ]


def test_a_session_ends_with_logout_with_its_key_and_with_time(keys: KeyStore, tmp_path: Path) -> None:
    sessions = SessionStore(tmp_path / "data", keys, lifetime_s=60)
    key, _ = keys.add("reader", Scope.READ)
    closed, left = sessions.open(key), sessions.open(key)
    assert sessions.find(left) == sessions.find(closed) == key
    sessions.close(closed)
    assert sessions.find(closed) is None
    assert sessions.find("never opened") is None
    keys.revoke(key.id)
    assert sessions.find(left) is None

    short = SessionStore(tmp_path / "data", keys, lifetime_s=0)
    key, _ = keys.add("other reader", Scope.READ)
    over = short.open(key)
    assert short.find(over) is None
    folder = tmp_path / "data" / SESSIONS_FOLDER
    assert not [path for path in folder.iterdir() if over in path.name or over in path.read_text()]
    sessions.open(key)
    assert len(list(folder.iterdir())) == 2, "what is over was removed; the revoked key's session ends later"
