"""Everything that can go wrong in the gateway, without a word about HTTP or gRPC.

GatewayError
├── RequestError                  the caller can mend it
│   ├── InvalidRequestError           body, text, tensor, parameter or header
│   ├── TooLargeError                 more bytes than the gateway reads
│   ├── UnsupportedEncodingError      a body in a form that the gateway does not decode
│   ├── SlowRequestError              the body did not arrive in time
│   ├── UnauthenticatedError          no key, or an unknown one
│   ├── ForbiddenError                a known caller asks for what it may not have
│   └── NotFoundError
│       ├── UnknownModelError
│       └── UnknownVersionError
├── OverloadedError               refused early; says when to come back
├── RateLimitedError              this caller asks more often than its key allows; says when to come back
├── DeadlineExceededError         the caller's time is up
├── ModelUnavailableError         the model exists but no verified version of it can answer
├── UpstreamError
│   ├── UpstreamUnavailableError      Triton cannot be reached, or does not serve the version
│   ├── UpstreamRefusedError          Triton says that the request is wrong
│   └── UpstreamFailedError           Triton computed and failed
├── RepositoryError
│   ├── RepositoryUnreadableError     storage does not answer: the last good state stays
│   └── VersionRejectedError          a version does not verify: it is never routed to
└── SettingsError                 the process cannot start like this
"""

from collections.abc import Iterable


class GatewayError(Exception):
    """Base of all; the message is one sentence for the person who can act on it."""

    code = "internal"


class RequestError(GatewayError):
    """The caller can mend it."""

    code = "bad_request"


class InvalidRequestError(RequestError):
    """Body, text, tensor, parameter or header."""

    code = "invalid_request"


class TooLargeError(RequestError):
    """More bytes than the gateway reads."""

    code = "too_large"


class UnsupportedEncodingError(RequestError):
    """A body in a form that the gateway does not decode."""

    code = "unsupported_encoding"


class SlowRequestError(RequestError):
    """The body did not arrive in time."""

    code = "slow_request"


class UnauthenticatedError(RequestError):
    """No key, or an unknown one."""

    code = "unauthenticated"


class ForbiddenError(RequestError):
    """A known caller asks for what it may not have."""

    code = "forbidden"


class NotFoundError(RequestError):
    """The thing asked for is not here."""

    code = "not_found"


class UnknownModelError(NotFoundError):
    """No such model; the message names those that there are."""

    code = "unknown_model"

    def __init__(self, model: str, known: Iterable[str]) -> None:
        names = ", ".join(sorted(known)) or "none"
        super().__init__(f"model {model[:64]!r} is not in the repository; known models: {names}")


class UnknownVersionError(NotFoundError):
    """No such verified version of a known model."""

    code = "unknown_version"


class OverloadedError(GatewayError):
    """Refused early; `retry_after_s` says when to come back."""

    code = "overloaded"

    def __init__(self, message: str, *, retry_after_s: int = 1) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class RateLimitedError(GatewayError):
    """This caller asks more often than its key allows; `retry_after_s` says when to come back."""

    code = "rate_limited"

    def __init__(self, message: str, *, retry_after_s: float) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class DeadlineExceededError(GatewayError):
    """The caller's time is up."""

    code = "deadline_exceeded"


class ModelUnavailableError(GatewayError):
    """The model exists but no verified version of it can answer."""

    code = "model_unavailable"


class UpstreamError(GatewayError):
    """Triton did not answer as hoped."""

    code = "upstream_error"


class UpstreamUnavailableError(UpstreamError):
    """Triton cannot be reached, or does not serve the version."""

    code = "upstream_unavailable"


class UpstreamRefusedError(UpstreamError):
    """Triton says that the request is wrong."""

    code = "upstream_refused"


class UpstreamFailedError(UpstreamError):
    """Triton computed and failed."""

    code = "upstream_failed"


class RepositoryError(GatewayError):
    """The model repository is not as its contract says."""

    code = "repository_error"


class RepositoryUnreadableError(RepositoryError):
    """Storage does not answer: the last good state stays."""

    code = "repository_unreadable"


class VersionRejectedError(RepositoryError):
    """A version does not verify: it is never routed to."""

    code = "version_rejected"


class SettingsError(GatewayError):
    """The process cannot start like this."""

    code = "settings"
