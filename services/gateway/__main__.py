"""`python -m gateway`: the process."""

import sys
from functools import partial

import uvicorn
from prometheus_client import start_http_server

from gateway import logs
from gateway.app import build
from gateway.connection import Connection, HeadLimits
from gateway.errors import RepositoryError, SettingsError
from gateway.server import DrainingServer, bind
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
    """Serve HTTP and metrics on their ports."""
    gateway = build(settings)
    bind(settings.host, settings.grpc_port, "RETORT_GRPC_PORT").close()  # gRPC takes no sockets
    listener = bind(settings.host, settings.http_port, "RETORT_HTTP_PORT")
    try:
        metrics, _ = start_http_server(settings.metrics_port, settings.host, gateway.metrics.registry)
    except OSError as error:
        raise SettingsError(
            f"cannot listen on {settings.host}:{settings.metrics_port} ({error.strerror}): "
            "free the port or set RETORT_METRICS_PORT to another one"
        ) from error
    config = uvicorn.Config(
        gateway.app,
        loop="uvloop",
        http=partial(Connection, limits=HeadLimits(settings.gateway_head_timeout_s, settings.gateway_max_head_bytes)),  # type: ignore[arg-type]  # a protocol class, for uvicorn
        ws="none",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,  # nothing here reads the client's address
        timeout_graceful_shutdown=settings.gateway_shutdown_s,
    )
    try:
        DrainingServer(config, gateway.grpc, gateway.lifecycle, settings.gateway_drain_s).run(sockets=[listener])
    finally:
        metrics.shutdown()


if __name__ == "__main__":
    main()
