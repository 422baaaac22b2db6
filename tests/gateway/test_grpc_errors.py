"""Every error of the tree has a gRPC status of its own choice."""

import grpc
import pytest

from gateway import http_errors
from gateway.errors import GatewayError, InvalidRequestError, OverloadedError, RateLimitedError
from gateway.grpc_errors import STATUS, metadata
from tests.gateway.test_errors import tree

TEMPORARY = {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.DEADLINE_EXCEEDED}


@pytest.mark.parametrize("kind", list(tree()))
def test_the_table_names_every_error(kind: type[GatewayError]) -> None:
    assert kind in STATUS
    if http_errors.STATUS[kind] in (429, 503, 504):
        assert STATUS[kind] in TEMPORARY


def test_metadata_tells_programs_what_to_do() -> None:
    assert metadata(OverloadedError("busy", retry_after_s=7)) == (("x-error-code", "overloaded"), ("retry-after", "7"))
    often = metadata(RateLimitedError("often", retry_after_s=1.5))
    assert often == (("x-error-code", "rate_limited"), ("retry-after", "2"))
    assert metadata(InvalidRequestError("no")) == (("x-error-code", "invalid_request"),)
