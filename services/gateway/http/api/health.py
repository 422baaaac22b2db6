"""Health doors: `/healthz` says that the process lives, `/readyz` whether traffic should come and what is wrong."""

from collections.abc import Callable

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from gateway.call import CALL
from gateway.caller import STRANGER
from gateway.errors import UnauthenticatedError
from gateway.http import states
from gateway.http.schemas import BriefReadiness, Live, Readiness
from gateway.lifecycle import Lifecycle
from gateway.security.auth import ApiKeys
from gateway.serving.catalog import Catalog
from gateway.upstream.triton import Triton


def health_router(
    catalog: Catalog, triton: Triton, lifecycle: Lifecycle, keys: ApiKeys, is_ready: Callable[[], bool]
) -> APIRouter:
    """Return the health doors. Triton's state is detail: a readiness that needs it would deadlock scale-to-zero."""
    router = APIRouter(tags=["health"])

    @router.head("/healthz", include_in_schema=False)
    @router.get("/healthz")
    async def healthz() -> Live:
        return Live(live=True)

    forms = BriefReadiness | Readiness

    @router.head("/readyz", include_in_schema=False)
    @router.get("/readyz", response_model=forms, responses={503: {"model": forms}})
    async def readyz(request: Request) -> Response:
        ready = is_ready()
        readiness: BriefReadiness | Readiness = BriefReadiness(
            ready=ready, draining=lifecycle.draining, models=states.brief(catalog)
        )
        if _is_known(keys, request):
            readiness = Readiness(
                ready=ready,
                draining=lifecycle.draining,
                problem=catalog.problem or (None if lifecycle.others_ready else "another worker cannot answer yet"),
                models=states.of(catalog),
                upstreams=dict(triton.states),
            )
        return JSONResponse(readiness.model_dump(), status_code=200 if ready else 503)

    return router


def _is_known(keys: ApiKeys, request: Request) -> bool:
    """Whether somebody with a key asks; without keys, somebody at this machine."""
    try:
        return keys.caller(request.scope[CALL].headers.get(b"authorization")) is not STRANGER
    except UnauthenticatedError:
        return False
