"""API keys: a file of hashes, and who may listen without."""

import hashlib
from pathlib import Path

import pytest

from gateway.auth import ApiKeys, refuse_open_bind
from gateway.errors import SettingsError, UnauthenticatedError

KEY = "k" * 32


@pytest.fixture
def keys(tmp_path: Path) -> ApiKeys:
    """Two callers."""
    file = tmp_path / "keys"
    file.write_text(
        f"# callers\n\n{hashlib.sha256(KEY.encode()).hexdigest()} alice\n{hashlib.sha256(b'x').hexdigest()}  bob\n"
    )
    return ApiKeys.read(file)


def test_a_known_key_has_a_name(keys: ApiKeys) -> None:
    assert keys.caller(f"Bearer {KEY}".encode()) == "alice"
    assert keys.caller(b"bearer  x ") == "bob"


@pytest.mark.parametrize(
    "header", [None, b"", b"Bearer", b"Bearer ", b"Basic eDp4", b"Bearer wrong", KEY.encode(), b"Bearer \xff"]
)
def test_everything_else_is_refused(keys: ApiKeys, header: bytes | None) -> None:
    with pytest.raises(UnauthenticatedError):
        keys.caller(header)


@pytest.mark.parametrize(
    ("content", "message"),
    [("", "holds no key"), (f"{KEY} alice", "line 1"), (f"# x\n{'0' * 64}", "line 2"), ("\xff\xfe", "line 1")],
)
def test_a_wrong_file_is_refused_without_repeating_it(tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / "keys").write_text(content)
    with pytest.raises(SettingsError, match=message) as refused:
        ApiKeys.read(tmp_path / "keys")
    assert KEY not in str(refused.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="nowhere cannot be read"):
        ApiKeys.read(tmp_path / "nowhere")


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "example.org"])
def test_the_world_needs_keys_or_a_decision(host: str, keys: ApiKeys) -> None:
    with pytest.raises(SettingsError, match="RETORT_AUTH=off"):
        refuse_open_bind(host, ApiKeys({}), auth=True)
    refuse_open_bind(host, ApiKeys({}), auth=False)
    refuse_open_bind(host, keys, auth=True)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1.2.3", "::1", "localhost"])
def test_loopback_needs_none(host: str) -> None:
    refuse_open_bind(host, ApiKeys({}), auth=True)
