"""A caller: its models and permissions, and what it is told otherwise."""

import pytest

from gateway.caller import CACHE_BYPASS, NOBODY, OWNER, ROUTE_VERSION, STRANGER, Caller
from gateway.errors import ForbiddenError


def test_models() -> None:
    Caller("alice", "acme").check_model("anything")
    limited = Caller("alice", "acme", models=frozenset({"b", "a"}))
    limited.check_model("a")
    assert (limited.may_use("a"), limited.may_use("c")) == (True, False)
    with pytest.raises(ForbiddenError, match="the key 'alice' may not use model 'c'; its models: a, b"):
        limited.check_model("c")


def test_permissions() -> None:
    Caller("alice", "acme", permissions=frozenset({ROUTE_VERSION})).check_permission(ROUTE_VERSION, "it")
    with pytest.raises(ForbiddenError, match="it needs the permission route-version, which the key 'alice' has not"):
        Caller("alice", "acme").check_permission(ROUTE_VERSION, "it")


def test_nobody_may_nothing_and_the_owner_everything() -> None:
    with pytest.raises(ForbiddenError, match="its models: none"):
        NOBODY.check_model("a")
    with pytest.raises(ForbiddenError):
        NOBODY.check_permission(CACHE_BYPASS, "it")
    OWNER.check_model("a")
    OWNER.check_permission(ROUTE_VERSION, "it")
    STRANGER.check_permission(CACHE_BYPASS, "it")
    with pytest.raises(ForbiddenError, match="a caller without a key"):
        STRANGER.check_permission(ROUTE_VERSION, "it")
