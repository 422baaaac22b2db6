"""A serving process: the gateway's application behind its doors, until it is told to stop."""

import socket
from functools import partial

import uvicorn
from fastapi import FastAPI

from gateway import ports
from gateway.admin.server import AdminServer
from gateway.app import Gateway, build
from gateway.http import secure_headers
from gateway.http.connection import Connection, HeadLimits
from gateway.loop import Loop
from gateway.security.tls import Certificate
from gateway.server import Door, DrainingServer
from gateway.settings import Settings


def serve(settings: Settings) -> None:
    """Serve HTTP, gRPC, admin and metrics on their ports, alone."""
    gateway = build(settings)
    ports.bind(settings.host, settings.grpc_port, "RETORT_GRPC_PORT").close()  # gRPC takes no sockets
    listener = ports.bind(settings.host, settings.http_port, "RETORT_HTTP_PORT")
    admin = None
    if gateway.admin is not None:
        admin = ports.bind(settings.host, settings.admin_port, "RETORT_ADMIN_PORT")
    metrics = ports.expose(settings.host, settings.metrics_port, gateway.metrics.registry)
    try:
        server = DrainingServer(*doors(gateway, settings, admin), gateway.lifecycle, settings.gateway_drain_s)
        server.run(sockets=[listener])
    finally:
        metrics.shutdown()


def doors(gateway: Gateway, settings: Settings, admin: socket.socket | None) -> tuple[uvicorn.Config, list[Door]]:
    """Return the HTTP door's configuration, and the other doors."""
    others: list[Door] = [gateway.grpc]
    if gateway.admin is not None and admin is not None:
        others.append(AdminServer(_config(gateway.admin, gateway.certificate, settings), admin))
    return _config(gateway.app, gateway.certificate, settings), others


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
