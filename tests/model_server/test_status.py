"""The loader's door, over real HTTP."""

import json
from urllib.error import HTTPError
from urllib.request import urlopen

import pytest

from model_server.errors import MachineError
from model_server.metrics import Metrics
from model_server.status import serving
from tests.ports import free_ports


def get(port: int, path: str) -> tuple[int, bytes]:
    try:
        with urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as response:
            return response.status, response.read()
    except HTTPError as error:
        return error.code, error.read()


def test_readiness_is_a_status_code_and_the_rest_is_detail() -> None:
    metrics = Metrics()
    metrics.ready.set(1)
    (port,) = free_ports(1)
    ready = True
    with serving("127.0.0.1", port, lambda: (ready, {"models": {}}), metrics.registry):
        assert get(port, "/readyz")[0] == 200
        ready = False
        status, content = get(port, "/readyz")
        assert (status, json.loads(content)) == (503, {"ready": False, "models": {}})
        assert get(port, "/status")[0] == 200
        assert get(port, "/healthz")[0] == 200
        assert b"retort_loader_ready 1.0" in get(port, "/metrics")[1]
        assert get(port, "/nothing")[0] == 404


def test_a_port_in_use_is_one_sentence() -> None:
    (port,) = free_ports(1)
    registry = Metrics().registry
    with (
        serving("127.0.0.1", port, lambda: (True, {}), registry),
        pytest.raises(MachineError, match=f"127.0.0.1:{port}"),
        serving("127.0.0.1", port, lambda: (True, {}), registry),
    ):
        pass
