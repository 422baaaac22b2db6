"""How each error of the tree looks over gRPC: the one table."""

import math
from collections.abc import Mapping

import grpc

from gateway import errors
from gateway.errors import GatewayError, OverloadedError, RateLimitedError

STATUS: Mapping[type[GatewayError], grpc.StatusCode] = {
    GatewayError: grpc.StatusCode.INTERNAL,
    errors.RequestError: grpc.StatusCode.INVALID_ARGUMENT,
    errors.InvalidRequestError: grpc.StatusCode.INVALID_ARGUMENT,
    errors.UnauthenticatedError: grpc.StatusCode.UNAUTHENTICATED,
    errors.ForbiddenError: grpc.StatusCode.PERMISSION_DENIED,
    errors.NotFoundError: grpc.StatusCode.NOT_FOUND,
    errors.UnknownModelError: grpc.StatusCode.NOT_FOUND,
    errors.UnknownVersionError: grpc.StatusCode.NOT_FOUND,
    errors.SlowRequestError: grpc.StatusCode.DEADLINE_EXCEEDED,
    errors.TooLargeError: grpc.StatusCode.RESOURCE_EXHAUSTED,
    errors.UnsupportedEncodingError: grpc.StatusCode.UNIMPLEMENTED,
    errors.OverloadedError: grpc.StatusCode.RESOURCE_EXHAUSTED,
    errors.RateLimitedError: grpc.StatusCode.RESOURCE_EXHAUSTED,
    errors.ModelUnavailableError: grpc.StatusCode.UNAVAILABLE,
    errors.UpstreamError: grpc.StatusCode.UNAVAILABLE,
    errors.UpstreamRefusedError: grpc.StatusCode.INVALID_ARGUMENT,
    errors.UpstreamFailedError: grpc.StatusCode.UNAVAILABLE,
    errors.UpstreamUnavailableError: grpc.StatusCode.UNAVAILABLE,
    errors.DeadlineExceededError: grpc.StatusCode.DEADLINE_EXCEEDED,
    errors.RepositoryError: grpc.StatusCode.UNAVAILABLE,
    errors.RepositoryUnreadableError: grpc.StatusCode.UNAVAILABLE,
    errors.VersionRejectedError: grpc.StatusCode.UNAVAILABLE,
    errors.SettingsError: grpc.StatusCode.INTERNAL,
}


def metadata(error: GatewayError) -> tuple[tuple[str, str], ...]:
    """Return the trailing metadata that goes with an error: its code for programs, and when to come back."""
    found: tuple[tuple[str, str], ...] = (("x-error-code", error.code),)
    if isinstance(error, OverloadedError | RateLimitedError):
        found += (("retry-after", str(math.ceil(error.retry_after_s))),)
    return found
