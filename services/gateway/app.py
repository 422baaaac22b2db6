"""The application: every object of the gateway is made and wired here, and nowhere else."""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from typing import Any

from fastapi import FastAPI
from fastapi_offline import FastAPIOffline

from gateway.access import AccessLog
from gateway.admin.app import build_admin
from gateway.admin.orders import Everyone, Order, Orders
from gateway.admin.routes import Inside
from gateway.grpc_api.server import GrpcServer
from gateway.grpc_api.service import Service
from gateway.grpc_api.strangers import Strangers
from gateway.headers import RequestLimits
from gateway.http.api.health import health_router
from gateway.http.api.oip import infer_routes, metadata_router, triton_router
from gateway.http.api.predict import predict_routes
from gateway.http.fallbacks import add_fallbacks
from gateway.http.hot import HotRoutes, HotTable
from gateway.http.middleware import DOCS_ASSETS, RequestMiddleware
from gateway.http.openapi import describe
from gateway.lifecycle import Lifecycle
from gateway.metrics import Metrics
from gateway.place import Place
from gateway.security.gate import Gate
from gateway.security.memory_buckets import MemoryBuckets
from gateway.security.rate_limit import RateLimiter, SharedBuckets
from gateway.security.redis_buckets import RedisBuckets
from gateway.security.secrets import Secrets
from gateway.security.tls import Certificate
from gateway.serving.admission import Admission
from gateway.serving.catalog import Catalog
from gateway.serving.predictor import Predictor
from gateway.serving.repository import Repository
from gateway.serving.target import Batching, Target
from gateway.settings import Settings
from gateway.tracing import tracer
from gateway.upstream.triton import Triton

log = logging.getLogger(__name__)

BALANCED_DRAIN_S = 5.0
REPLACEMENT_LOOKS_EVERY_S = 0.2


@dataclass(frozen=True, slots=True)
class Gateway:
    """The application, and what the process around it needs."""

    app: FastAPI
    grpc: GrpcServer
    admin: FastAPI | None
    certificate: Certificate | None
    metrics: Metrics
    lifecycle: Lifecycle
    catalog: Catalog
    obey: Callable[[Order, str | None], Awaitable[Any]]


@dataclass(frozen=True, slots=True)
class Shared:
    """What a worker has in common with the others."""

    place: Place
    buckets: MemoryBuckets
    everyone: Everyone


def build(settings: Settings, shared: Shared | None = None) -> Gateway:
    """Make a gateway, or one worker of it; raises SettingsError when it must not start like this."""
    release = version("retort")
    secrets = Secrets.read(settings)
    tracing = tracer(settings.otlp_endpoint, settings.gateway_trace_share, release)
    metrics, lifecycle = Metrics(), Lifecycle()
    buckets = RedisBuckets(settings.redis_url, metrics) if settings.redis_url else None
    triton = Triton(settings.upstreams, metrics, settings.gateway_hold_s)
    catalog = _catalog(settings, triton, metrics)
    max_inflight = settings.gateway_max_inflight
    rates: list[SharedBuckets] = [buckets] if buckets else []
    if shared is not None:
        max_inflight = shared.place.share(max_inflight)
        rates.append(shared.buckets)
    admission = Admission(max_inflight, metrics)
    predictor = Predictor(
        catalog,
        admission,
        max_texts=settings.gateway_max_texts,
        max_text_chars=settings.gateway_max_text_chars,
        log_text_share=settings.gateway_log_text_share,
    )
    gate = Gate(secrets.keys, RateLimiter(metrics, *rates))
    limits = RequestLimits(
        settings.gateway_max_body_bytes, settings.gateway_deadline_ms, settings.gateway_max_deadline_ms
    )
    access = AccessLog(metrics, tracing)
    orders = Orders(shared.place.index if shared else 0, catalog, admission, lifecycle, secrets.keys)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        await triton.open()
        await catalog.refresh()
        if secrets.admin_keys is None:
            log.info("the admin API is off: RETORT_ADMIN_KEY_FILE is not set")
        watches = [
            asyncio.create_task(catalog.watch(settings.gateway_poll_s)),
            asyncio.create_task(triton.watch(settings.gateway_probe_s)),
            asyncio.create_task(secrets.watch(settings.gateway_secrets_poll_s, metrics)),
        ]
        if buckets:
            watches.append(asyncio.create_task(buckets.watch()))
        while shared and shared.place.replaces and not catalog.is_ready:  # noqa: ASYNC110  # a watch makes it so
            await asyncio.sleep(REPLACEMENT_LOOKS_EVERY_S)  # the other workers answer meanwhile
        yield
        for watch in watches:
            watch.cancel()
        await asyncio.gather(*watches, return_exceptions=True)
        await triton.close()
        if buckets:
            await buckets.close()
        await tracing.close()

    def is_ready() -> bool:
        return catalog.is_ready and lifecycle.others_ready and not lifecycle.draining

    app = _http(release, lifespan)
    hot = [*predict_routes(predictor), *infer_routes(predictor)]
    describe(app, hot)
    app.include_router(health_router(catalog, triton, lifecycle, secrets.keys, is_ready))
    app.include_router(triton_router(catalog))
    app.include_router(metadata_router(catalog, is_ready, release))
    add_fallbacks(app)
    app.add_middleware(HotRoutes)
    app.add_middleware(RequestMiddleware, gate=gate, limits=limits, access=access, hot=HotTable(hot))
    strangers = Strangers(metrics, settings.gateway_head_timeout_s)
    grpc = GrpcServer(
        Service(predictor, catalog, is_ready, gate, limits, access, release, strangers),
        settings.grpc_address,
        max_message_bytes=settings.gateway_max_body_bytes,
        max_calls=max_inflight,
        connection_age_s=_connection_age_s(settings.gateway_drain_s),
        open_timeout_s=settings.gateway_head_timeout_s,
        credentials=secrets.certificate.grpc_credentials() if secrets.certificate else None,
        shares_port=shared is not None,
    )
    admin = None
    if secrets.admin_keys is not None:
        inside = Inside(
            catalog=catalog,
            triton=triton,
            keys=secrets.keys,
            everyone=shared.everyone if shared else orders.alone,
            is_ready=is_ready,
            redis_state=lambda: buckets.state if buckets else "not set",
            config=settings.shown(),
            version=release,
        )
        admin = build_admin(inside, Gate(secrets.admin_keys, RateLimiter(metrics)), access)
    return Gateway(app, grpc, admin, secrets.certificate, metrics, lifecycle, catalog, orders.obey)


def _connection_age_s(drain_s: float) -> float | None:
    """Return an age that connections reach while the gateway drains; gRPC varies it by a tenth. None: no such age.

    Behind a balancer a drain takes 5 s or more. Without one, clients would connect anew every second for nothing.
    """
    return 0.8 * drain_s if drain_s >= BALANCED_DRAIN_S else None


def _catalog(settings: Settings, triton: Triton, metrics: Metrics) -> Catalog:
    batching = Batching(
        settings.gateway_batch_rows, settings.gateway_batches_in_flight, settings.gateway_max_queue_rows
    )
    make_target = partial(Target, triton=triton, batching=batching, metrics=metrics)
    return Catalog(Repository(settings.model_repository), make_target, metrics, settings.default_model)


def _http(release: str, lifespan: Callable[[FastAPI], AbstractAsyncContextManager[None]]) -> FastAPI:
    return FastAPIOffline(  # FastAPI, but /docs takes its script from here: clusters have no way to a CDN
        static_url=DOCS_ASSETS,
        redoc_url=None,
        title="Retort",
        summary="Text in, prediction out; or the Open Inference Protocol.",
        version=release,
        lifespan=lifespan,
        redirect_slashes=False,  # a redirect would repeat whatever Host the caller wrote
        telemetry={"tracing": False, "metrics": False, "logs": False},  # asked on every request otherwise
    )
