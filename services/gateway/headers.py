"""The contract's request and answer headers, the same over HTTP (headers) and gRPC (metadata)."""

import random
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass

from gateway.call import Call
from gateway.errors import InvalidRequestError, TooLargeError

REQUEST_ID = re.compile(rb"[A-Za-z0-9._:-]{1,128}")
ROUTE_KEY_BYTES = 256
CACHE_CONTROLS = {b"bypass": "bypass", b"refresh": "refresh"}
VERSION = re.compile(rb"[1-9][0-9]{0,8}")


@dataclass(frozen=True, slots=True)
class RequestLimits:
    """How much and how long; milliseconds are the unit of `x-deadline-ms`."""

    max_body_bytes: int
    default_deadline_ms: int
    max_deadline_ms: int


def request_id(headers: Mapping[bytes, bytes]) -> str:
    """Return the caller's `x-request-id`, or a new one when there is none or it is odd."""
    given = headers.get(b"x-request-id", b"")
    # Names a request, protects nothing: the system's random source would cost a system call each time.
    return given.decode("ascii") if REQUEST_ID.fullmatch(given) else f"{random.getrandbits(128):032x}"


def admit(call: Call, limits: RequestLimits) -> None:
    """Read the request headers into `call`; raises RequestError for a bad one."""
    headers = call.headers
    call.deadline_s = call.started_s + limits.default_deadline_ms / 1e3
    if (given := headers.get(b"x-deadline-ms")) is not None:
        call.deadline_s = call.started_s + _deadline_ms(given, limits) / 1e3
    if (route_key := headers.get(b"x-route-key")) is not None:
        if not 0 < len(route_key) <= ROUTE_KEY_BYTES:
            raise InvalidRequestError(f"x-route-key must have 1 to {ROUTE_KEY_BYTES} bytes")
        call.route_key = route_key.decode("latin-1")
    if (control := headers.get(b"x-cache-control")) is not None:
        if control not in CACHE_CONTROLS:
            raise InvalidRequestError("x-cache-control must be bypass or refresh")
        call.cache_control = CACHE_CONTROLS[control]
    if (version := headers.get(b"x-route-version")) is not None:
        if VERSION.fullmatch(version) is None:
            raise InvalidRequestError(
                f"x-route-version must be a version number, not {version[:20].decode('latin-1')!r}"
            )
        call.route_version = int(version)
    length = headers.get(b"content-length", b"0")
    if length.isdigit() and int(length[:20]) > limits.max_body_bytes:
        raise TooLargeError(f"the body is larger than the {limits.max_body_bytes} bytes that the gateway reads")


def _deadline_ms(given: bytes, limits: RequestLimits) -> int:
    if not (given.isdigit() and len(given) < 10 and 0 < (deadline_ms := int(given)) <= limits.max_deadline_ms):
        raise InvalidRequestError(
            f"x-deadline-ms must be a whole number from 1 to {limits.max_deadline_ms}, "
            f"not {given[:20].decode('latin-1')!r}"
        )
    return deadline_ms


def answer(call: Call) -> list[tuple[bytes, bytes]]:
    """Return what every answer tells about its call."""
    total_ms = (time.monotonic() - call.started_s) * 1e3
    steps = "".join([f"{step};dur={seconds * 1e3:.3f}, " for step, seconds in call.steps_s.items()])
    headers = [
        (b"x-request-id", call.request_id.encode()),
        (b"server-timing", f"{steps}total;dur={total_ms:.3f}".encode()),
    ]
    if call.version:
        headers += [
            (b"x-model-version", call.version.encode()),
            (b"x-cohort", call.cohort.encode()),
            (b"x-cache", call.cache.encode()),
        ]
    return headers
