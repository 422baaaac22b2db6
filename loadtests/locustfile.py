"""Customers of the gateway, over HTTP or gRPC, and the figures that a run must reach.

    locust -f loadtests/locustfile.py --headless -u 16 -r 16 -t 60s --host http://127.0.0.1:8080
    locust -f loadtests/locustfile.py --headless -u 64 -r 64 -t 60s --host grpc://127.0.0.1:8081 --rate 127 --p99-ms 50

Exit code 1 and one line a broken threshold when the run was too slow, too thin or failed too often.
"""

import sys
from pathlib import Path
from typing import Any

from locust import events
from locust.env import Environment

# Wherever Locust is started. Second, because Locust takes the first entry for its own and removes it.
sys.path.insert(1, str(Path(__file__).resolve().parents[1]))

from loadtests.customer import Customer
from loadtests.load_test import LoadTest
from loadtests.options import add_options

__all__ = ["Customer"]  # Locust takes the customers that it finds here


def begin(environment: Environment, **_: Any) -> None:
    """Hang the load test into Locust's events."""
    LoadTest(environment)


events.init_command_line_parser.add_listener(add_options)  # type: ignore[no-untyped-call]
events.init.add_listener(begin)  # type: ignore[no-untyped-call]
