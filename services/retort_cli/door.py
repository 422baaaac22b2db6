"""A door: an HTTP address that the command line asks, past any proxy when it is on this machine."""

from typing import Any
from urllib.parse import urlsplit
from urllib.request import ProxyHandler, Request, build_opener

LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})


def open_door(request: Request, timeout_s: float) -> Any:
    """Open an http(s) request and return the response. Raises as urllib.request.urlopen does."""
    host = urlsplit(request.full_url).hostname
    # http_proxy in the environment means the world outside, and urllib takes it for this machine too.
    opener = build_opener(ProxyHandler({})) if host in LOOPBACK else build_opener()
    return opener.open(request, timeout=timeout_s)
