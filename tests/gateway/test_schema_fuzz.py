"""Requests made from the OpenAPI document, right and wrong: none gets a 5xx that is not 503 or 504."""

import logging
import socket
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis.errors import Unsatisfiable
from schemathesis.core.result import Ok

from tests.gateway.leaks import assert_no_more_than, at_rest
from tests.gateway.load import CHAOS
from tests.gateway.processes import gateway
from tests.model_server_process import ModelServer

log = logging.getLogger(__name__)

EXAMPLES = 5  # of each operation and mode, with Triton and as many without


@pytest.mark.parametrize("live", [True, False], ids=["live", "dead"])
@pytest.mark.timeout(60 * CHAOS)
def test_no_request_of_the_schema_breaks_the_gateway(
    published: Path, live_triton: ModelServer, tmp_path: Path, live: bool
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as unused:
        dead = unused.getsockname()[1]
    codes: Counter[int] = Counter()
    allowed = set() if live else {503, 504}
    with gateway(published, tmp_path, live_triton.grpc if live else dead) as served:
        before = None
        schema = schemathesis.openapi.from_url(f"{served.url}/openapi.json")
        for found in schema.get_all_operations():
            assert isinstance(found, Ok), found
            operation = found.ok()
            for mode in schemathesis.GenerationMode:

                @seed(3)
                @settings(
                    max_examples=EXAMPLES * CHAOS,
                    deadline=None,
                    database=None,
                    phases=[Phase.generate],
                    suppress_health_check=list(HealthCheck),
                )
                @given(case=operation.as_strategy(generation_mode=mode))
                def send(case: Any) -> None:
                    answer = case.call(timeout=15)
                    codes[answer.status_code] += 1
                    assert answer.status_code < 500 or answer.status_code in allowed, answer.text

                with suppress(Unsatisfiable):  # some operations have no wrong requests
                    send()
            before = before or at_rest(served)  # the first operation was the warm-up
        log.info("requests of the schema, Triton %s: %s", "live" if live else "dead", dict(codes))
        assert before is not None
        assert_no_more_than(before, served, "requests of the schema")
    assert sum(codes.values()) > 100
    assert codes[400]
