"""Health doors: `/healthz` says that the process lives, `/readyz` whether traffic should come and what is wrong."""

from collections.abc import Callable

from fastapi import APIRouter
from starlette.responses import JSONResponse, Response

from gateway.http import states
from gateway.http.schemas import Live, Readiness
from gateway.lifecycle import Lifecycle
from gateway.serving.catalog import Catalog
from gateway.upstream.triton import Triton


def health_router(catalog: Catalog, triton: Triton, lifecycle: Lifecycle, is_ready: Callable[[], bool]) -> APIRouter:
    """Return the health doors. Triton's state is detail: a readiness that needs it would deadlock scale-to-zero."""
    router = APIRouter(tags=["health"])

    @router.head("/healthz", include_in_schema=False)
    @router.get("/healthz")
    async def healthz() -> Live:
        return Live(live=True)

    @router.head("/readyz", include_in_schema=False)
    @router.get("/readyz", response_model=Readiness, responses={503: {"model": Readiness}})
    async def readyz() -> Response:
        ready = is_ready()
        readiness = Readiness(
            ready=ready,
            draining=lifecycle.draining,
            problem=catalog.problem or (None if lifecycle.others_ready else "another worker cannot answer yet"),
            models=states.of(catalog),
            upstreams=dict(triton.states),
        )
        return JSONResponse(readiness.model_dump(), status_code=200 if ready else 503)

    return router
