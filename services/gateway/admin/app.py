"""The admin application: its doors behind its keys, with the request ids, error forms and log lines of the gateway."""

from fastapi import FastAPI

from gateway.access import AccessLog
from gateway.admin.routes import Inside, admin_router
from gateway.headers import RequestLimits
from gateway.http.fallbacks import add_fallbacks
from gateway.http.middleware import RequestMiddleware
from gateway.security.gate import Gate

MAX_BODY_BYTES = 4096
DEADLINE_MS = 30_000


def build_admin(inside: Inside, gate: Gate, access: AccessLog) -> FastAPI:
    """Make the application. The key is asked before FastAPI reads the body; nothing here needs none."""
    app = FastAPI(
        title="Retort, admin",
        version=inside.version,
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        redirect_slashes=False,
        telemetry={"tracing": False, "metrics": False, "logs": False},
    )
    app.include_router(admin_router(inside))
    add_fallbacks(app)
    limits = RequestLimits(MAX_BODY_BYTES, DEADLINE_MS, DEADLINE_MS)
    app.add_middleware(RequestMiddleware, gate=gate, limits=limits, access=access)
    return app
