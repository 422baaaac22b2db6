"""The gate: what a call needs before anything is done for it, through both doors' common way."""

import hashlib

import pytest

from gateway.call import Call
from gateway.caller import CACHE_BYPASS, NOBODY, ROUTE_VERSION, Caller, Rate
from gateway.errors import ForbiddenError, RateLimitedError, UnauthenticatedError
from gateway.metrics import Metrics
from gateway.security.auth import ApiKeys
from gateway.security.gate import Gate
from gateway.security.rate_limit import RateLimiter


def call(*, key: str | None = "k", version: int | None = None, control: str | None = None) -> Call:
    """A call as a door hands it over."""
    made = Call("r1", {} if key is None else {b"authorization": f"Bearer {key}".encode()})
    made.route_version, made.cache_control = version, control
    return made


def gate(caller: Caller) -> Gate:
    """A gate that knows one key, `k`."""
    return Gate(ApiKeys({hashlib.sha256(b"k").hexdigest(): caller}), RateLimiter(Metrics()))


async def test_the_caller_is_written_into_the_call() -> None:
    asked, alice = call(), Caller("alice", "acme")
    assert asked.caller is NOBODY
    await gate(alice).admit(asked)
    assert asked.caller is alice


async def test_without_a_known_key_nobody_passes() -> None:
    for asked in (call(key=None), call(key="other")):
        with pytest.raises(UnauthenticatedError):
            await gate(Caller("alice", "acme")).admit(asked)
        assert asked.caller is NOBODY


@pytest.mark.parametrize(
    ("asked", "permission"), [({"version": 1}, ROUTE_VERSION), ({"control": "refresh"}, CACHE_BYPASS)]
)
async def test_permissions(asked: dict[str, str], permission: str) -> None:
    await gate(Caller("alice", "acme", permissions=frozenset({permission}))).admit(call(**asked))  # type: ignore[arg-type]
    with pytest.raises(ForbiddenError, match=permission):
        await gate(Caller("alice", "acme")).admit(call(**asked))  # type: ignore[arg-type]


async def test_the_rate_is_kept() -> None:
    limited = gate(Caller("alice", "acme", rate=Rate(0.001, 2)))
    await limited.admit(call())
    await limited.admit(call())
    with pytest.raises(RateLimitedError):
        await limited.admit(call())
