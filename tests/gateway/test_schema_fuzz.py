"""Requests made from the OpenAPI document, right and wrong: none gets a 5xx that is not 503 or 504."""

import socket
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import Any

import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis.errors import Unsatisfiable
from schemathesis.core.result import Ok

from tests.gateway.processes import gateway
from tests.gateway.test_faults import CHAOS

EXAMPLES = 15  # of each operation and mode


def test_no_request_of_the_schema_breaks_the_gateway(published: Path, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as unused:
        dead = unused.getsockname()[1]
    codes: Counter[int] = Counter()
    with gateway(published, tmp_path, dead) as served:
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
                    assert answer.status_code < 500 or answer.status_code in (503, 504), answer.text

                with suppress(Unsatisfiable):  # some operations have no wrong requests
                    send()
    assert sum(codes.values()) > 100
    assert codes[400]
