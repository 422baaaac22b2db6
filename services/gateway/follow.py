"""Following a file: it is read anew for ever, and while it is broken what was in use stays."""

import asyncio
import logging
from collections.abc import Awaitable, Callable

from prometheus_client import Counter

from gateway.errors import SettingsError

log = logging.getLogger(__name__)


async def follow(reload: Callable[[], Awaitable[None]], every_s: float, errors: Counter, stays: str) -> None:
    """Call `reload` every `every_s`; its SettingsErrors are counted, and logged when they change, with what `stays`."""
    problem: str | None = None
    while True:
        await asyncio.sleep(every_s)
        try:
            await reload()
        except SettingsError as error:
            errors.inc()
            if problem != str(error):
                log.error("%s; %s", error, stays)
            problem = str(error)
        else:
            problem = None
