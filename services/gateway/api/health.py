"""Health doors: `/healthz` says that the process lives, `/readyz` whether traffic should come and what is wrong."""

from collections.abc import Mapping

from fastapi import APIRouter
from starlette.responses import JSONResponse, Response

from gateway.catalog import Catalog, Model
from gateway.lifecycle import Lifecycle
from gateway.schemas import Live, ModelState, Readiness, VersionState
from gateway.triton import Triton


def health_router(catalog: Catalog, triton: Triton, lifecycle: Lifecycle) -> APIRouter:
    """Return the health doors. Triton's state is detail: a readiness that needs it would deadlock scale-to-zero."""
    router = APIRouter(tags=["health"])

    @router.get("/healthz")
    async def healthz() -> Live:
        return Live(live=True)

    @router.get("/readyz", response_model=Readiness, responses={503: {"model": Readiness}})
    async def readyz() -> Response:
        ready = catalog.is_ready and not lifecycle.draining
        readiness = Readiness(
            ready=ready,
            draining=lifecycle.draining,
            problem=catalog.problem,
            models={name: _state(model) for name, model in catalog.models.items()},
            upstreams=dict(triton.states),
        )
        return JSONResponse(readiness.model_dump(), status_code=200 if ready else 503)

    return router


def _state(model: Model) -> ModelState:
    stable = model.target.manifest.version if model.target else None
    versions: Mapping[str, VersionState] = {
        str(version): VersionState(state="stable" if version == stable else "verified", digest=found.manifest.digest)
        for version, found in model.stored.versions.items()
    } | {str(version): VersionState(state="rejected", reason=reason) for version, reason in model.rejected.items()}
    return ModelState(stable=stable, problem=model.problem, versions=dict(versions))
