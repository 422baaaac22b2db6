"""The doors of the admin API: status, keys, the model repository, the log level."""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from fastapi import APIRouter
from starlette.requests import Request

from gateway import logs
from gateway.admin.orders import Everyone
from gateway.admin.schemas import Key, Keys, LogLevel, Refreshed, Status, WorkerStatus
from gateway.call import CALL
from gateway.caller import Caller
from gateway.errors import InvalidRequestError, SettingsError
from gateway.http import states
from gateway.security.auth import ApiKeys
from gateway.serving.catalog import Catalog
from gateway.upstream.triton import Triton

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Inside:
    """The parts of the gateway that the admin API shows and turns; `config` must hold no secret."""

    catalog: Catalog
    triton: Triton
    keys: ApiKeys
    everyone: Everyone
    is_ready: Callable[[], bool]
    redis_state: Callable[[], str]
    config: Mapping[str, Any]
    version: str


def admin_router(inside: Inside) -> APIRouter:
    """Return the doors."""
    router = APIRouter(prefix="/admin/v1")

    @router.get("/status")
    async def status() -> Status:
        answers = await inside.everyone("status", None)
        workers = sorted((WorkerStatus(**answer) for answer in answers), key=lambda worker: worker.worker)
        return Status(
            version=inside.version,
            ready=inside.is_ready(),
            draining=any(worker.draining for worker in workers),
            inflight=sum(worker.inflight for worker in workers),
            tasks=sum(worker.tasks for worker in workers),
            problem=next((worker.problem for worker in workers if worker.problem), None),
            workers=workers,
            models=states.of(inside.catalog),
            upstreams=dict(inside.triton.states),
            redis=inside.redis_state(),
            config=dict(inside.config),
        )

    @router.get("/keys")
    async def keys() -> Keys:
        return Keys(keys=[_key(caller) for caller in inside.keys.callers])

    @router.post("/keys/reload")
    async def reload_keys(request: Request) -> Keys:
        try:
            await inside.everyone("reload-keys", None)
        except SettingsError as error:
            raise InvalidRequestError(f"{error}; the keys that were in force stay") from error
        log.info("%s had the keys read anew", _who(request))
        return await keys()

    @router.post("/catalog/refresh")
    async def refresh(request: Request) -> Refreshed:
        await inside.everyone("refresh-catalog", None)
        log.info("%s had the model repository read anew", _who(request))
        return Refreshed(problem=inside.catalog.problem, models=states.of(inside.catalog))

    @router.get("/log-level")
    async def log_level() -> LogLevel:
        return LogLevel.model_validate({"level": logs.level()})

    @router.put("/log-level")
    async def set_log_level(request: Request, wanted: LogLevel) -> LogLevel:
        log.warning("%s sets the log level to %s", _who(request), wanted.level)  # shows at every level but error
        await inside.everyone("log-level", wanted.level)
        return wanted

    return router


def _key(caller: Caller) -> Key:
    return Key(
        name=caller.name,
        tenant=caller.tenant,
        rate=caller.rate.per_s if caller.rate else None,
        burst=caller.rate.burst if caller.rate else None,
        models=None if caller.models is None else sorted(caller.models),
        may=sorted(caller.permissions),
    )


def _who(request: Request) -> str:
    return str(request.scope[CALL].caller.name)
