"""Every error of the tree has a status of its own choice, and a body in the caller's protocol."""

import orjson
import pytest

from gateway.errors import (
    GatewayError,
    OverloadedError,
    RateLimitedError,
    TooLargeError,
    UnauthenticatedError,
    UnsupportedEncodingError,
)
from gateway.http_errors import STATUS, response
from tests.gateway.test_errors import tree


@pytest.mark.parametrize("kind", list(tree()))
def test_the_table_names_every_error(kind: type[GatewayError]) -> None:
    assert kind in STATUS


def test_body_outside_oip() -> None:
    answer = response(TooLargeError("too much"), path="/predict", request_id="r1")
    assert answer.status_code == 413
    assert orjson.loads(answer.body) == {
        "error": {"code": "too_large", "message": "too much"},
        "request_id": "r1",
    }
    assert answer.headers["connection"] == "close"


def test_body_of_oip() -> None:
    answer = response(TooLargeError("too much"), path="/v2/models/m/infer", request_id="r1")
    assert orjson.loads(answer.body) == {"error": "too much"}


def test_headers_that_tell_what_to_do() -> None:
    busy = response(OverloadedError("busy", retry_after_s=7), path="/predict", request_id="")
    assert (busy.status_code, busy.headers["retry-after"]) == (429, "7")
    often = response(RateLimitedError("often", retry_after_s=0.02), path="/predict", request_id="")
    assert (often.status_code, often.headers["retry-after"]) == (429, "1")
    odd = response(UnsupportedEncodingError("br?"), path="/predict", request_id="")
    assert (odd.status_code, odd.headers["accept-encoding"]) == (415, "gzip, deflate")
    stranger = response(UnauthenticatedError("who?"), path="/predict", request_id="")
    assert (stranger.status_code, stranger.headers["www-authenticate"]) == (401, "Bearer")
