"""Overrides: versions that get no traffic of their own, made ready when a caller with the permission asks for one."""

import asyncio
from collections import OrderedDict
from collections.abc import Callable

from gateway.serving.repository import StoredVersion
from gateway.serving.target import Target

COHORT = "override"
MAX_TARGETS = 4  # each holds a tokenizer


class Overrides:
    """The last few that were asked for. A version is its digest, so none can be out of date."""

    def __init__(self, make_target: Callable[..., Target]) -> None:
        self._make_target = make_target
        self._targets: OrderedDict[str, Target] = OrderedDict()
        self._making = asyncio.Lock()

    async def target(self, stored: StoredVersion) -> Target:
        """Return who answers from this version; raises VersionRejectedError when its tokenizer cannot be used."""
        digest = stored.manifest.digest
        async with self._making:  # on a thread, because it takes some 50 ms; once, however many ask
            if (target := self._targets.get(digest)) is None:
                target = self._targets[digest] = await asyncio.to_thread(self._make_target, stored, cohort=COHORT)
            self._targets.move_to_end(digest)
            if len(self._targets) > MAX_TARGETS:
                self._targets.popitem(last=False)
        return target
