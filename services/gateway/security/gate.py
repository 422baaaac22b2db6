"""The gate that every call goes through, whichever door it came by: whose key, which permissions, how many requests."""

from gateway.call import Call
from gateway.caller import CACHE_BYPASS, ROUTE_VERSION
from gateway.security.auth import ApiKeys
from gateway.security.rate_limit import RateLimiter


class Gate:
    """Writes the caller into the call, or says why not."""

    def __init__(self, keys: ApiKeys, limiter: RateLimiter) -> None:
        self._keys, self._limiter = keys, limiter

    async def admit(self, call: Call) -> None:
        """Raise UnauthenticatedError, ForbiddenError or RateLimitedError; what a model needs the predictor checks."""
        caller = call.caller = self._keys.caller(call.headers.get(b"authorization"))
        if call.route_version is not None:
            caller.check_permission(ROUTE_VERSION, "x-route-version")
        if call.cache_control is not None:
            caller.check_permission(CACHE_BYPASS, "x-cache-control")
        if caller.rate is not None:
            await self._limiter.admit(caller)
