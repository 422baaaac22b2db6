"""API keys: a file of hashes that is followed, and who may listen without."""

import asyncio
import hashlib
import hmac
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from gateway.caller import OWNER, STRANGER
from gateway.errors import SettingsError, UnauthenticatedError
from gateway.metrics import Metrics
from gateway.security.auth import ApiKeys, refuse_open_bind
from tests.gateway.conftest import until

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
    assert keys.caller(f"Bearer {KEY}".encode()).name == "alice"
    assert keys.caller(b"bearer  x ").name == "bob"
    assert [caller.name for caller in keys.callers] == ["alice", "bob"]


def test_one_digest_is_compared_in_constant_time_however_many_keys_there_are(
    keys: ApiKeys, monkeypatch: pytest.MonkeyPatch
) -> None:
    compared, really = [], hmac.compare_digest

    def compare(one: str, other: str) -> bool:
        compared.append(one)
        return really(one, other)

    monkeypatch.setattr(hmac, "compare_digest", compare)
    keys.caller(f"Bearer {KEY}".encode())
    assert compared == [hashlib.sha256(KEY.encode()).hexdigest()]


def test_without_keys_everybody_calls_and_only_the_owner_of_the_machine_may_everything() -> None:
    assert ApiKeys.none("127.0.0.1").caller(None) is OWNER
    assert ApiKeys.none("0.0.0.0").caller(b"Bearer x") is STRANGER


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
def test_the_world_needs_keys_or_a_decision(host: str, keys: ApiKeys, caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(SettingsError, match="RETORT_AUTH=off"):
        refuse_open_bind(host, ApiKeys({}), auth=True)
    refuse_open_bind(host, keys, auth=True)
    assert not caplog.messages
    refuse_open_bind(host, ApiKeys({}), auth=False)
    assert caplog.messages == [f"whoever reaches RETORT_HOST {host} may call without a key: RETORT_AUTH is off"]


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1.2.3", "::1", "localhost"])
def test_loopback_needs_none(host: str, caplog: pytest.LogCaptureFixture) -> None:
    refuse_open_bind(host, ApiKeys({}), auth=True)
    refuse_open_bind(host, ApiKeys({}), auth=False)
    assert not caplog.messages


def line(key: str, name: str) -> str:
    """A line of a keys file."""
    return f"{hashlib.sha256(key.encode()).hexdigest()} {name}\n"


@asynccontextmanager
async def watched(file: Path) -> AsyncIterator[tuple[ApiKeys, Metrics]]:
    """Keys that follow their file."""
    keys, metrics = ApiKeys.read(file), Metrics()
    watch = asyncio.create_task(keys.watch(0.01, metrics))
    yield keys, metrics
    assert not watch.done()
    watch.cancel()
    await asyncio.gather(watch, return_exceptions=True)


async def opens(keys: ApiKeys, key: str) -> bool:
    """Whether somebody owns this key now."""
    try:
        return bool(keys.caller(f"Bearer {key}".encode()))
    except UnauthenticatedError:
        return False


async def test_keys_are_followed_in_place_and_through_swapped_links(tmp_path: Path) -> None:
    for name, key in (("..1", "old"), ("..2", "new")):  # as Kubernetes mounts a Secret
        (tmp_path / name).mkdir()
        (tmp_path / name / "keys").write_text(line(key, "alice"))
    (tmp_path / "..data").symlink_to("..1")
    (tmp_path / "keys").symlink_to("..data/keys")
    async with watched(tmp_path / "keys") as (keys, _):
        assert await opens(keys, "old")
        (tmp_path / "..next").symlink_to("..2")
        (tmp_path / "..next").rename(tmp_path / "..data")
        await until(lambda: opens(keys, "new"))
        assert not await opens(keys, "old")
        (tmp_path / "..2/keys").write_text(line("third", "alice"))
        await until(lambda: opens(keys, "third"))


@pytest.mark.parametrize("broken", ["clear-text-key alice", "", None])
async def test_a_broken_file_changes_nothing_is_told_once_and_counted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, broken: str | None
) -> None:
    file = tmp_path / "keys"
    file.write_text(line("old", "alice"))
    async with watched(file) as (keys, metrics):
        file.unlink() if broken is None else file.write_text(broken)

        async def counted() -> bool:
            return (metrics.registry.get_sample_value("retort_keys_errors_total") or 0) >= 3

        with caplog.at_level(logging.ERROR):
            await until(counted)
        assert await opens(keys, "old")
        assert len(caplog.records) == 1
        assert "the keys that were in force stay" in caplog.text
        assert "clear-text-key" not in caplog.text
        file.write_text(line("new", "alice"))
        await until(lambda: opens(keys, "new"))
