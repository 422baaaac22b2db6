"""Connections to the Redis of RETORT_REDIS_URL."""

from redis.asyncio import BlockingConnectionPool
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from gateway.errors import SettingsError

MAX_CONNECTIONS = 32
WARM_CONNECTIONS = 4  # made by a probe: a connection over TLS takes longer than a request may wait
PATIENCE_S = 1.0  # of a probe and of whatever nobody waits for; a request has its own, shorter


def connections(url: str) -> BlockingConnectionPool:
    """Return a pool that connects when first used; raises SettingsError."""
    try:
        return BlockingConnectionPool.from_url(
            url,
            max_connections=MAX_CONNECTIONS,
            timeout=PATIENCE_S,
            socket_timeout=PATIENCE_S,
            socket_connect_timeout=PATIENCE_S,
            retry=Retry(NoBackoff(), 0),  # the default tries again for seconds
            protocol=2,  # flat answers of bytes and integers, whatever the server's age; and no HELLO to wait for
        )
    except ValueError:  # its sentence would repeat the address, which may hold a password
        raise SettingsError("RETORT_REDIS_URL must be redis://, rediss:// or unix://") from None
