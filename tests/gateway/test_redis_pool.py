"""Connections to Redis: a wrong address is named without its password."""

import pytest

from gateway.errors import SettingsError
from gateway.redis_pool import connections


@pytest.mark.parametrize("url", ["http://:secret@redis", "redis", "redis://:secret@host:port/0"])
def test_a_wrong_address(url: str) -> None:
    with pytest.raises(SettingsError, match="RETORT_REDIS_URL must be redis://") as refused:
        connections(url)
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize("url", ["redis://:secret@redis:6379/0", "rediss://redis", "unix:///run/redis.sock"])
def test_the_addresses_that_there_are(url: str) -> None:
    assert connections(url).connection_kwargs["protocol"] == 2
