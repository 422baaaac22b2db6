"""Ports: taken before anything serves, or refused in one sentence that names the setting which moves them."""

import logging
import socket
import sys
from contextlib import suppress
from socketserver import ThreadingMixIn
from threading import Lock, Thread
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

from prometheus_client import CollectorRegistry, make_wsgi_app

from gateway.errors import SettingsError

log = logging.getLogger(__name__)

MAX_SCRAPES = 16  # at once; each is a thread
SCRAPE_TIMEOUT_S = 5.0  # for a scraper to say or take anything


def bind(host: str, port: int, name: str) -> socket.socket:
    """Return a listening socket; SettingsError says in one sentence why there is none."""
    listener = _socket(host)
    try:
        listener.bind((host, port))
        listener.listen()  # a port that is only bound could be bound once more, by the metrics or another gateway
    except OSError as error:
        listener.close()
        raise _refused(host, port, name, error) from error
    return listener


def claim(host: str, port: int, name: str) -> socket.socket:
    """Return a socket that keeps strangers off the port and lets this gateway's own workers listen on it together.

    It is bound alone and opened to SO_REUSEPORT afterwards, so that another gateway's workers cannot slip in; it does
    not listen, so that no connection is given to it.
    """
    holder = _socket(host)
    try:
        holder.bind((host, port))
    except OSError as error:
        holder.close()
        raise _refused(host, port, name, error) from error
    holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 0)
    holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    return holder


def join(host: str, port: int, name: str) -> socket.socket:
    """Return a socket of one worker on a port that the supervisor has claimed; it does not listen yet."""
    own = _socket(host)
    own.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    try:
        own.bind((host, port))
    except OSError as error:
        own.close()
        raise _refused(host, port, name, error) from error
    return own


def expose(host: str, port: int, registry: CollectorRegistry) -> WSGIServer:
    """Answer /metrics on a thread until `shutdown()`; SettingsError when the port cannot be had."""
    try:
        server = MetricsServer(host, port)
    except OSError as error:
        raise _refused(host, port, "RETORT_METRICS_PORT", error) from error
    server.set_app(make_wsgi_app(registry))
    Thread(target=server.serve_forever, daemon=True).start()
    return server


class MetricsServer(ThreadingMixIn, WSGIServer):
    """prometheus_client's own gives every connection a thread for as long as it likes.

    Here the oldest of too many is closed: a scrape takes milliseconds, whoever stays longer has no need of it.
    """

    daemon_threads = True
    request_queue_size = 128  # a scraper waits behind those who came at once with it

    def __init__(self, host: str, port: int) -> None:
        self.address_family = _family(host)
        self._open: dict[socket.socket, None] = {}  # in the order in which they came
        self._lock = Lock()
        super().__init__((host, port), Scrape)

    def process_request(self, request: Any, client_address: Any) -> None:
        """Begin to answer one connection."""
        with self._lock:
            self._open[request] = None
            if len(self._open) > MAX_SCRAPES:
                oldest = next(iter(self._open))
                del self._open[oldest]
                with suppress(OSError):  # it is gone already
                    oldest.shutdown(socket.SHUT_RDWR)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        """One connection has its answer."""
        with self._lock:
            self._open.pop(request, None)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ARG002  # socketserver's signature
        """Say nothing of a scraper that is silent or gone."""
        error = sys.exc_info()[1]
        if not isinstance(error, OSError):
            log.error("metrics could not be collected", exc_info=error)


class Scrape(WSGIRequestHandler):
    """One question for the metrics."""

    def setup(self) -> None:
        """Give it little time."""
        self.request.settimeout(SCRAPE_TIMEOUT_S)
        super().setup()

    def log_message(self, format: str, *arguments: Any) -> None:  # noqa: A002  # http.server's signature
        """Log nothing."""


def _socket(host: str) -> socket.socket:
    made = socket.socket(_family(host), socket.SOCK_STREAM)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    return made


def _family(host: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in host else socket.AF_INET


def _refused(host: str, port: int, name: str, error: OSError) -> SettingsError:
    return SettingsError(
        f"cannot listen on {host}:{port} ({error.strerror}): free the port or set {name} to another one"
    )
