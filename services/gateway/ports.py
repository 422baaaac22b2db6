"""Ports: taken before anything serves, or refused in one sentence that names the setting which moves them."""

import socket
from wsgiref.simple_server import WSGIServer

from prometheus_client import CollectorRegistry, start_http_server

from gateway.errors import SettingsError


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
        return start_http_server(port, host, registry)[0]
    except OSError as error:
        raise _refused(host, port, "RETORT_METRICS_PORT", error) from error


def _socket(host: str) -> socket.socket:
    made = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    return made


def _refused(host: str, port: int, name: str, error: OSError) -> SettingsError:
    return SettingsError(
        f"cannot listen on {host}:{port} ({error.strerror}): free the port or set {name} to another one"
    )
