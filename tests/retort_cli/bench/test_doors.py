"""The doors: refusals of the gRPC door that h2load cannot see, and a door that is not there."""

import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from retort_cli.bench.doors import ask, refusals
from retort_cli.errors import CommandError
from tests.ports import free_ports

METRICS = b"""# TYPE retort_requests_total counter
retort_requests_total{code="200",cohort="stable",model="m",route="grpc_infer",version="1"} 900.0
retort_requests_total{code="429",cohort="stable",model="m",route="grpc_infer",version="1"} 12.0
retort_requests_total{code="503",cohort="stable",model="m",route="grpc_infer",version="1"} 3.0
retort_requests_total{code="499",cohort="stable",model="m",route="grpc_infer",version="1"} 4.0
retort_requests_total{code="429",cohort="stable",model="m",route="predict",version="1"} 50.0
"""


def test_refusals_are_read_from_the_gateways_metrics() -> None:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(METRICS)

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.handle_request)
        thread.start()
        assert refusals(server.server_address[1]) == 15
        thread.join()


def test_a_door_that_is_not_there_is_one_sentence() -> None:
    with pytest.raises(CommandError, match="the gRPC door refuses a text: UNAVAILABLE"):
        ask(f"127.0.0.1:{free_ports(1)[0]}", b"")
