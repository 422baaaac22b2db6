"""What every HTTP request goes through: a call with id and deadline, a key, answer headers, metrics, one log line."""

import asyncio
import logging

from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gateway import headers, http_errors
from gateway.access import CLIENT_LEFT, AccessLog
from gateway.call import CALL, Call
from gateway.errors import GatewayError
from gateway.headers import RequestLimits
from gateway.http import secure_headers
from gateway.http.body import Body
from gateway.http.hot import HOT, HotTable
from gateway.security.gate import Gate

log = logging.getLogger(__name__)

NEEDS_NO_KEY = frozenset({"/healthz", "/readyz", "/v2/health/live", "/v2/health/ready", "/docs", "/openapi.json"})
DOCS_ASSETS = "/docs-assets"


class RequestMiddleware:
    """Outermost: every answer that leaves has been through here."""

    def __init__(
        self, app: ASGIApp, gate: Gate, limits: RequestLimits, access: AccessLog, hot: HotTable | None = None
    ) -> None:
        self._app, self._gate, self._limits, self._access = app, gate, limits, access
        self._hot = hot or HotTable()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request; errors of the tree become answers here, whoever raised them."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        call = self._begin(scope)
        status = 0

        async def respond(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message["headers"], *headers.answer(call), *secure_headers.of(scope["path"])]
            await send(message)

        body: Body | None = None
        try:
            await self._admit(call, scope["path"])
            body = Body(
                receive,
                max_bytes=self._limits.max_body_bytes,
                deadline_s=call.deadline_s,
                encoding=call.headers.get(b"content-encoding"),
            )
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
            self._access.answered(call, scope["method"], status)

    def _begin(self, scope: Scope) -> Call:
        given = dict(scope["headers"])
        call = scope[CALL] = Call(headers.request_id(given), given)
        if (found := self._hot.find(scope["path"])) is not None:
            scope[HOT] = found
            call.route = found[0].name  # before the gate: metrics tell where callers are refused
        self._access.began(call)
        return call

    async def _admit(self, call: Call, path: str) -> None:
        headers.admit(call, self._limits)
        if not _needs_no_key(path):
            await self._gate.admit(call)


def _needs_no_key(path: str) -> bool:
    return path in NEEDS_NO_KEY or path.startswith(f"{DOCS_ASSETS}/")
