"""How each error of the tree looks over HTTP: the one table, and the two forms of its body."""

import math
from collections.abc import Mapping

import orjson
from starlette.responses import Response

from gateway import errors
from gateway.errors import GatewayError, OverloadedError, RateLimitedError

STATUS: Mapping[type[GatewayError], int] = {
    GatewayError: 500,
    errors.RequestError: 400,
    errors.InvalidRequestError: 400,
    errors.UnauthenticatedError: 401,
    errors.ForbiddenError: 403,
    errors.NotFoundError: 404,
    errors.UnknownModelError: 404,
    errors.UnknownVersionError: 404,
    errors.SlowRequestError: 408,
    errors.TooLargeError: 413,
    errors.UnsupportedEncodingError: 415,
    errors.OverloadedError: 429,
    errors.RateLimitedError: 429,
    errors.ModelUnavailableError: 503,
    errors.UpstreamError: 503,
    errors.UpstreamRefusedError: 400,
    errors.UpstreamFailedError: 503,
    errors.UpstreamUnavailableError: 503,
    errors.DeadlineExceededError: 504,
    errors.RepositoryError: 503,
    errors.RepositoryUnreadableError: 503,
    errors.VersionRejectedError: 503,
    errors.SettingsError: 500,
}
# The body was not read to its end: what follows on the connection is not a request.
CLOSES = (errors.TooLargeError, errors.SlowRequestError)


def response(error: GatewayError, *, path: str, request_id: str) -> Response:
    """Return the answer that tells a caller of `path` about `error`."""
    answer = plain(STATUS[type(error)], error.code, str(error), path=path, request_id=request_id)
    if isinstance(error, OverloadedError | RateLimitedError):
        answer.headers["retry-after"] = str(math.ceil(error.retry_after_s))
    if isinstance(error, errors.UnauthenticatedError):
        answer.headers["www-authenticate"] = "Bearer"
    if isinstance(error, errors.UnsupportedEncodingError):
        answer.headers["accept-encoding"] = "gzip, deflate"
    if isinstance(error, CLOSES):
        answer.headers["connection"] = "close"
    return answer


def plain(status: int, code: str, message: str, *, path: str, request_id: str) -> Response:
    """Return an error body: the Open Inference Protocol's form under `/v2`, the gateway's own elsewhere."""
    content: dict[str, object]
    if path == "/v2" or path.startswith("/v2/"):
        content = {"error": message}
    else:
        content = {"error": {"code": code, "message": message}, "request_id": request_id}
    return Response(orjson.dumps(content), status_code=status, media_type="application/json")


def unrouted(status: int, method: str, path: str, request_id: str) -> Response:
    """Return the 404 of a path that nobody answers, or the 405 of one that is answered to other methods."""
    code, what = ("method_not_allowed", "not allowed") if status == 405 else (errors.NotFoundError.code, "not a route")
    message = f"{method} {path[:200]} is {what}; see /openapi.json"
    return plain(status, code, message, path=path, request_id=request_id)
