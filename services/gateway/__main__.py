"""`python -m gateway`: the process."""

import sys
from functools import partial

import uvicorn
from fastapi import FastAPI
from prometheus_client import start_http_server

from gateway import logs
from gateway.admin.server import AdminServer
from gateway.app import build
from gateway.errors import RepositoryError, SettingsError
from gateway.http import secure_headers
from gateway.http.connection import Connection, HeadLimits
from gateway.loop import Loop
from gateway.security.tls import Certificate
from gateway.server import Door, DrainingServer, bind
from gateway.settings import Settings, load


def main() -> None:
    """Serve until SIGTERM or Ctrl-C; a wrong setting or a taken port ends with one sentence and status 1."""
    try:
        settings = load()
        logs.configure(settings.log_level)
        serve(settings)
    except (RepositoryError, SettingsError) as error:
        sys.exit(f"error: {error}")


def serve(settings: Settings) -> None:
    """Serve HTTP, gRPC, admin and metrics on their ports."""
    gateway = build(settings)
    bind(settings.host, settings.grpc_port, "RETORT_GRPC_PORT").close()  # gRPC takes no sockets
    listener = bind(settings.host, settings.http_port, "RETORT_HTTP_PORT")
    doors: list[Door] = [gateway.grpc]
    if gateway.admin is not None:
        admin_listener = bind(settings.host, settings.admin_port, "RETORT_ADMIN_PORT")
        doors.append(AdminServer(_config(gateway.admin, gateway.certificate, settings), admin_listener))
    try:
        metrics, _ = start_http_server(settings.metrics_port, settings.host, gateway.metrics.registry)
    except OSError as error:
        raise SettingsError(
            f"cannot listen on {settings.host}:{settings.metrics_port} ({error.strerror}): "
            "free the port or set RETORT_METRICS_PORT to another one"
        ) from error
    config = _config(gateway.app, gateway.certificate, settings)
    try:
        DrainingServer(config, doors, gateway.lifecycle, settings.gateway_drain_s).run(sockets=[listener])
    finally:
        metrics.shutdown()


def _config(app: FastAPI, certificate: Certificate | None, settings: Settings) -> uvicorn.Config:
    limits = HeadLimits(
        settings.gateway_head_timeout_s, settings.gateway_max_head_bytes, settings.gateway_max_connections
    )
    return uvicorn.Config(
        app,
        loop=partial(Loop, limits.timeout_s),  # type: ignore[arg-type]  # a factory, which uvicorn takes as well
        http=partial(Connection, limits=limits),  # type: ignore[arg-type]  # a protocol class, for uvicorn
        ws="none",
        log_config=None,
        access_log=False,
        server_header=False,
        headers=secure_headers.of_every_answer(tls=certificate is not None),
        proxy_headers=False,  # nothing here reads the client's address
        ssl_context_factory=(lambda *_: certificate.context) if certificate is not None else None,
        timeout_graceful_shutdown=settings.gateway_shutdown_s,
    )


if __name__ == "__main__":
    main()
