"""The loader's door: /healthz, /readyz, /status and /metrics over plain HTTP."""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from socketserver import ThreadingMixIn
from threading import Thread
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from prometheus_client import CollectorRegistry, make_wsgi_app

from model_server.errors import MachineError

# Returns whether every stable version answers, and the detail for /status.
Report = Callable[[], tuple[bool, Mapping[str, Any]]]


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True


class _Quiet(WSGIRequestHandler):
    timeout = 10  # a probe that never sends its request must not keep a thread

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
        """Probes come every few seconds; they are not worth a line."""


@contextmanager
def serving(host: str, port: int, report: Report, registry: CollectorRegistry) -> Iterator[None]:
    """Answer on threads until the end of the block. Raises MachineError when the port cannot be used."""
    metrics: Callable[..., Iterable[bytes]] = make_wsgi_app(registry)

    def app(environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        path = environ["PATH_INFO"]
        if path == "/metrics":
            return metrics(environ, start)
        ready, detail = report()
        answers = {
            "/healthz": ("200 OK", {"live": True}),
            "/readyz": ("200 OK" if ready else "503 Service Unavailable", {"ready": ready, **detail}),
            "/status": ("200 OK", {"ready": ready, **detail}),
        }
        status, content = answers.get(path, ("404 Not Found", {"error": f"no {path} here; try {', '.join(answers)}"}))
        start(status, [("Content-Type", "application/json")])
        return [json.dumps(content, indent=2).encode() + b"\n"]

    try:
        server = make_server(host, port, app, server_class=_Server, handler_class=_Quiet)
    except OSError as error:
        raise MachineError(
            f"{host}:{port} (the loader) cannot be used: {error.strerror}; set RETORT_LOADER_PORT"
        ) from error
    thread = Thread(target=server.serve_forever, name="status", daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
