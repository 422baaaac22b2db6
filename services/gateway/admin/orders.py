"""Orders: what the admin API has every worker of the gateway do; each obeys for itself and answers with plain JSON."""

import asyncio
import os
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Literal

from gateway import logs
from gateway.lifecycle import Lifecycle
from gateway.security.auth import ApiKeys
from gateway.serving.admission import Admission
from gateway.serving.catalog import Catalog

Order = Literal["status", "reload-keys", "refresh-catalog", "log-level"]
# Gives the order, with its value, to every worker and returns their answers in any order; raises SettingsError when
# one could not obey, DeadlineExceededError when one is silent.
Everyone = Callable[[Order, str | None], Awaitable[list[Any]]]


@dataclass(frozen=True, slots=True)
class Orders:
    """The parts of one worker that orders are about."""

    worker: int
    catalog: Catalog
    admission: Admission
    lifecycle: Lifecycle
    keys: ApiKeys

    async def obey(self, order: Order, value: str | None = None) -> Any:
        """Do it; raises SettingsError when that cannot be."""
        match order:
            case "status":
                return {
                    "worker": self.worker,
                    "pid": os.getpid(),
                    "ready": self.catalog.is_ready and not self.lifecycle.draining,
                    "draining": self.lifecycle.draining,
                    "inflight": self.admission.inflight,
                    "tasks": len(asyncio.all_tasks()),
                    "problem": self.catalog.problem,
                }
            case "reload-keys":
                await self.keys.reload()
            case "refresh-catalog":
                await self.catalog.refresh()
            case "log-level" if value:
                logs.set_level(value)
        return None

    async def alone(self, order: Order, value: str | None = None) -> list[Any]:
        """Be everyone."""
        return [await self.obey(order, value)]
