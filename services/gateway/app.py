"""The application: every object of the gateway is made and wired here, and nowhere else."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from fastapi_offline import FastAPIOffline
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from gateway import http_errors
from gateway.access import AccessLog
from gateway.admission import Admission
from gateway.api.health import health_router
from gateway.api.oip import infer_routes, metadata_router, triton_router
from gateway.api.predict import predict_routes
from gateway.auth import ApiKeys, refuse_open_bind
from gateway.call import CALL
from gateway.catalog import Catalog
from gateway.errors import RequestError
from gateway.grpc_api.server import GrpcServer
from gateway.grpc_api.service import Service
from gateway.headers import RequestLimits
from gateway.hot import HotRoutes
from gateway.lifecycle import Lifecycle
from gateway.metrics import Metrics
from gateway.middleware import DOCS_ASSETS, AuthMiddleware, RequestMiddleware
from gateway.openapi import describe
from gateway.predictor import Predictor
from gateway.repository import Repository
from gateway.settings import Settings
from gateway.target import Batching, Target
from gateway.triton import Triton

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Gateway:
    """The application, and what the process around it needs."""

    app: FastAPI
    grpc: GrpcServer
    metrics: Metrics
    lifecycle: Lifecycle
    catalog: Catalog


def build(settings: Settings) -> Gateway:
    """Make a gateway; raises SettingsError when it must not start like this."""
    keys = ApiKeys({})
    if settings.auth == "on" and settings.api_keys_file is not None:
        keys = ApiKeys.read(settings.api_keys_file)
    refuse_open_bind(settings.host, keys, auth=settings.auth == "on")
    metrics, lifecycle = Metrics(), Lifecycle()
    triton = Triton(settings.upstreams, metrics)
    batching = Batching(
        settings.gateway_batch_rows, settings.gateway_batches_in_flight, settings.gateway_max_queue_rows
    )
    make_target = partial(Target, triton=triton, batching=batching, metrics=metrics, cohort="stable")
    catalog = Catalog(Repository(settings.model_repository), make_target, metrics, settings.default_model)
    admission = Admission(settings.gateway_max_inflight, metrics)
    predictor = Predictor(catalog, admission, max_texts=settings.gateway_max_texts)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        await triton.open()
        await catalog.refresh()
        watches = [
            asyncio.create_task(catalog.watch(settings.gateway_poll_s)),
            asyncio.create_task(triton.watch(settings.gateway_probe_s)),
        ]
        yield
        for watch in watches:
            watch.cancel()
        await asyncio.gather(*watches, return_exceptions=True)
        await triton.close()

    def is_ready() -> bool:
        return catalog.is_ready and not lifecycle.draining

    release = version("retort")
    app = FastAPIOffline(  # FastAPI, but /docs takes its script from here: clusters have no way to a CDN
        static_url=DOCS_ASSETS,
        redoc_url=None,
        title="Retort",
        summary="Text in, prediction out; or the Open Inference Protocol.",
        version=release,
        lifespan=lifespan,
        redirect_slashes=False,  # a redirect would repeat whatever Host the caller wrote
        telemetry={"tracing": False, "metrics": False, "logs": False},  # asked on every request otherwise
    )
    hot = [*predict_routes(predictor), *infer_routes(predictor)]
    describe(app, hot)
    app.include_router(health_router(catalog, triton, lifecycle))
    app.include_router(metadata_router(catalog, is_ready, release))
    app.include_router(triton_router(catalog))
    app.add_exception_handler(HTTPException, _unrouted)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(Exception, _bug)
    app.add_middleware(HotRoutes, routes=hot)
    if keys:
        app.add_middleware(AuthMiddleware, keys=keys)
    limits = RequestLimits(
        settings.gateway_max_body_bytes, settings.gateway_deadline_ms, settings.gateway_max_deadline_ms
    )
    access = AccessLog(metrics)
    app.add_middleware(RequestMiddleware, limits=limits, access=access)
    grpc = GrpcServer(
        Service(predictor, catalog, is_ready, keys, limits, access, release),
        settings.grpc_address,
        max_message_bytes=settings.gateway_max_body_bytes,
        max_calls=settings.gateway_max_inflight,
    )
    return Gateway(app, grpc, metrics, lifecycle, catalog)


async def _unrouted(request: Request, error: Exception) -> Response:
    """404 and 405 of the router."""
    status = error.status_code if isinstance(error, HTTPException) else 500
    answer = http_errors.unrouted(status, request.method, request.url.path, _request_id(request))
    if isinstance(error, HTTPException) and error.headers:
        answer.headers.update(error.headers)
    return answer


async def _invalid(request: Request, error: Exception) -> Response:
    """A path or query parameter that FastAPI refused."""
    return _plain(request, 400, RequestError.code, str(error).split("\n", 1)[0])


async def _bug(request: Request, error: Exception) -> Response:
    """Whatever nobody foresaw: the trace goes to the log, never to the caller."""
    log.error("unforeseen error", exc_info=error)
    return _plain(request, 500, "internal", "an unforeseen error; the log has it under this request id")


def _plain(request: Request, status: int, code: str, message: str) -> Response:
    return http_errors.plain(status, code, message, path=request.url.path, request_id=_request_id(request))


def _request_id(request: Request) -> str:
    call = request.scope.get(CALL)
    return call.request_id if call is not None else ""
