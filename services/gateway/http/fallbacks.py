"""Fallbacks: what FastAPI and Starlette raise by themselves, answered in the gateway's own form."""

import logging

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from gateway import http_errors
from gateway.call import CALL
from gateway.errors import RequestError

log = logging.getLogger(__name__)

MAX_MESSAGE = 500


def add_fallbacks(app: FastAPI) -> None:
    """Answer unknown routes, refused parameters and bugs of `app`."""
    app.add_exception_handler(HTTPException, _unrouted)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(Exception, _bug)


async def _unrouted(request: Request, error: Exception) -> Response:
    """404 and 405 of the router; 400 of FastAPI for a body that it cannot even parse."""
    if not isinstance(error, HTTPException) or error.status_code not in (404, 405):
        return _plain(request, 400, RequestError.code, "the body is not JSON")
    answer = http_errors.unrouted(error.status_code, request.method, request.url.path, _request_id(request))
    answer.headers.update(error.headers or {})
    return answer


async def _invalid(request: Request, error: Exception) -> Response:
    """A body or parameter that FastAPI refused: each field by its name, with the reason."""
    found = error.errors() if isinstance(error, RequestValidationError) else []
    reasons = [f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in found]
    return _plain(request, 400, RequestError.code, "; ".join(reasons)[:MAX_MESSAGE])


async def _bug(request: Request, error: Exception) -> Response:
    """Whatever nobody foresaw: the trace goes to the log, never to the caller."""
    log.error("unforeseen error", exc_info=error)
    return _plain(request, 500, "internal", "an unforeseen error; the log has it under this request id")


def _plain(request: Request, status: int, code: str, message: str) -> Response:
    return http_errors.plain(status, code, message, path=request.url.path, request_id=_request_id(request))


def _request_id(request: Request) -> str:
    call = request.scope.get(CALL)
    return call.request_id if call is not None else ""
