"""What every HTTP request goes through: a call with id and deadline, a key, answer headers, metrics, one log line."""

import asyncio
import logging
import os
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass

from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gateway import http_errors
from gateway.auth import ApiKeys
from gateway.body import Body
from gateway.call import Call
from gateway.errors import ForbiddenError, GatewayError, InvalidRequestError, TooLargeError
from gateway.metrics import LabelCache, Metrics

log = logging.getLogger("gateway.access")

CALL = "retort.call"  # the key in the ASGI scope under which doors find the Call
NEEDS_NO_KEY = frozenset({"/healthz", "/readyz", "/v2/health/live", "/v2/health/ready", "/docs", "/openapi.json"})
DOCS_ASSETS = "/docs-assets"
REQUEST_ID = re.compile(rb"[A-Za-z0-9._:-]{1,128}")
ROUTE_KEY_BYTES = 256
CACHE_CONTROLS = (b"bypass", b"refresh")
CLIENT_LEFT = 499  # nginx's number: nobody sees it but metrics and the log


@dataclass(frozen=True, slots=True)
class RequestLimits:
    """How much and how long; milliseconds are the unit of `x-deadline-ms`."""

    max_body_bytes: int
    default_deadline_ms: int
    max_deadline_ms: int


class RequestMiddleware:
    """Outermost: every answer that leaves has been through here."""

    def __init__(self, app: ASGIApp, limits: RequestLimits, metrics: Metrics) -> None:
        self._app, self._limits = app, limits
        self._metrics = LabelCache(metrics)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request; errors of the tree become answers here, whoever raised them."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = dict(scope["headers"])
        call = scope[CALL] = Call(_request_id(headers))
        status = 0

        async def respond(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message["headers"], *_answer_headers(call)]
            await send(message)

        body: Body | None = None
        try:
            _admit_headers(call, headers, self._limits)
            body = Body(receive, max_bytes=self._limits.max_body_bytes, deadline_s=call.deadline_s)
            await self._app(scope, body.receive, respond)
        except GatewayError as error:
            if status:
                raise
            answer = http_errors.response(error, path=scope["path"], request_id=call.request_id)
            log.debug("%s", error)
            await answer(scope, receive, respond)
        except (asyncio.CancelledError, ClientDisconnect) as error:
            # ClientDisconnect: gone in the middle of the body, at will or for a chunk that is none.
            if isinstance(error, asyncio.CancelledError) and (body is None or not body.abandoned):
                raise
            status = CLIENT_LEFT
        except Exception:
            status = 500  # answered by the application's last handler, outside of this middleware
            raise
        finally:
            if body is not None:
                body.close()
            self._finish(call, scope, status)

    def _finish(self, call: Call, scope: Scope, status: int) -> None:
        seconds = time.monotonic() - call.started_s
        self._metrics.answered(
            route=call.route,
            model=call.model,
            version=call.version,
            cohort=call.cohort,
            code=str(status),
            seconds=seconds,
        )
        level = logging.WARNING if status >= 500 else logging.INFO if status >= 400 else logging.DEBUG
        if log.isEnabledFor(level):
            fields = {
                "request_id": call.request_id,
                "method": scope["method"],
                "route": call.route,
                "status": status,
                "ms": round(seconds * 1e3, 3),
                "steps_ms": {step: round(took_s * 1e3, 3) for step, took_s in call.steps_s.items()},
                "model": call.model,
                "version": call.version,
                "cohort": call.cohort,
                "tenant": call.tenant,
            }
            log.log(level, "request", extra={"fields": fields})


class AuthMiddleware:
    """Lets a request pass that bears a known key, and writes the key's name into the call."""

    def __init__(self, app: ASGIApp, keys: ApiKeys) -> None:
        self._app, self._keys = app, keys

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Raise UnauthenticatedError without a known key; health endpoints need none."""
        if scope["type"] == "http" and not _needs_no_key(scope["path"]):
            scope[CALL].tenant = self._keys.caller(dict(scope["headers"]).get(b"authorization"))
        await self._app(scope, receive, send)


def _needs_no_key(path: str) -> bool:
    return path in NEEDS_NO_KEY or path.startswith(f"{DOCS_ASSETS}/")


def _request_id(headers: Mapping[bytes, bytes]) -> str:
    given = headers.get(b"x-request-id", b"")
    return given.decode("ascii") if REQUEST_ID.fullmatch(given) else os.urandom(16).hex()


def _admit_headers(call: Call, headers: Mapping[bytes, bytes], limits: RequestLimits) -> None:
    """Read the request headers of the contract into `call`; raises RequestError for a bad one."""
    call.deadline_s = call.started_s + limits.default_deadline_ms / 1e3
    if (given := headers.get(b"x-deadline-ms")) is not None:
        call.deadline_s = call.started_s + _deadline_ms(given, limits) / 1e3
    if (route_key := headers.get(b"x-route-key")) is not None:
        if not 0 < len(route_key) <= ROUTE_KEY_BYTES:
            raise InvalidRequestError(f"x-route-key must have 1 to {ROUTE_KEY_BYTES} bytes")
        call.route_key = route_key.decode("latin-1")
    if headers.get(b"x-cache-control", b"bypass") not in CACHE_CONTROLS:
        raise InvalidRequestError("x-cache-control must be bypass or refresh")
    if b"x-route-version" in headers:
        raise ForbiddenError("x-route-version needs the permission to choose a version, and no key has it")
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


def _answer_headers(call: Call) -> list[tuple[bytes, bytes]]:
    total_ms = (time.monotonic() - call.started_s) * 1e3
    steps = [f"{step};dur={seconds * 1e3:.3f}" for step, seconds in call.steps_s.items()]
    headers = [
        (b"x-request-id", call.request_id.encode()),
        (b"server-timing", ", ".join([*steps, f"total;dur={total_ms:.3f}"]).encode()),
    ]
    if call.version:
        headers += [
            (b"x-model-version", call.version.encode()),
            (b"x-cohort", call.cohort.encode()),
            (b"x-cache", call.cache.encode()),
        ]
    return headers
