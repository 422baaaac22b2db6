"""The gRPC server: clients move on before a gateway that drains closes; nothing holds the end up."""

import signal
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import Queue
from typing import Any

import grpc
import httpx
from grpc_health.v1 import health_pb2, health_pb2_grpc
from tritonclient.grpc import service_pb2, service_pb2_grpc

from tests.gateway.fake_triton import FakeTriton
from tests.gateway.processes import gateway, wait_until
from tests.gateway.test_grpc_fuzz import good_text
from tests.ports import free_ports

LIST_SERVICES = b"\x3a\x00"
READY, IDLE = grpc.ChannelConnectivity.READY, grpc.ChannelConnectivity.IDLE


def test_clients_are_asked_to_connect_anew_within_a_drain(published: Path, tmp_path: Path) -> None:
    states: list[grpc.ChannelConnectivity] = []
    with (
        gateway(published, tmp_path, *free_ports(1), gateway_drain_s=5) as served,
        grpc.insecure_channel(f"127.0.0.1:{served.grpc_port}") as channel,
    ):
        stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
        channel.subscribe(states.append)
        start = time.monotonic()
        assert stub.ServerLive(service_pb2.ServerLiveRequest()).live
        wait_until(lambda: READY in states and IDLE in states[states.index(READY) :], 10)
        assert time.monotonic() - start < 5
        assert stub.ServerLive(service_pb2.ServerLiveRequest()).live


def test_open_streams_do_not_hold_the_end_up(published: Path, tmp_path: Path) -> None:
    with (
        gateway(published, tmp_path, *free_ports(1)) as served,
        grpc.insecure_channel(f"127.0.0.1:{served.grpc_port}") as channel,
    ):
        watch = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest())
        assert next(watch).status == health_pb2.HealthCheckResponse.SERVING
        described: Any = channel.stream_stream("/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo")
        asks: Queue[bytes] = Queue()
        asks.put(LIST_SERVICES)
        assert next(described(iter(asks.get, b"no more")))
        started_s = time.monotonic()
        served.process.send_signal(signal.SIGTERM)
        assert served.process.wait(10) == 0
        assert time.monotonic() - started_s < 2
        asks.put(b"no more")


def test_calls_in_flight_are_answered_while_another_door_is_closed(
    published: Path, threaded_triton: FakeTriton, tmp_path: Path
) -> None:
    threaded_triton.delay_s = 1.5
    with (
        gateway(published, tmp_path, int(threaded_triton.url.rpartition(":")[2])) as served,
        grpc.insecure_channel(f"127.0.0.1:{served.grpc_port}") as channel,
    ):
        asked = service_pb2_grpc.GRPCInferenceServiceStub(channel).ModelInfer.future(good_text(), timeout=10)
        wait_until(lambda: bool(threaded_triton.requests), 5)
        served.process.send_signal(signal.SIGTERM)
        assert asked.result().model_version == "1"
        assert served.process.wait(10) == 0


def test_all_doors_close_within_one_grace(published: Path, threaded_triton: FakeTriton, tmp_path: Path) -> None:
    threaded_triton.delay_s = 30.0
    triton, grace_s = int(threaded_triton.url.rpartition(":")[2]), 3
    with (
        gateway(published, tmp_path, triton, gateway_shutdown_s=grace_s, gateway_deadline_ms=30_000) as served,
        grpc.insecure_channel(f"127.0.0.1:{served.grpc_port}") as channel,
        ThreadPoolExecutor(1) as pool,
    ):
        asked = service_pb2_grpc.GRPCInferenceServiceStub(channel).ModelInfer.future(good_text(), timeout=30)
        wait_until(lambda: len(threaded_triton.requests) == 1, 5)
        posted = pool.submit(httpx.post, f"{served.url}/predict", json={"text": "good"}, timeout=30)
        wait_until(lambda: len(threaded_triton.requests) == 2, 5)
        started_s = time.monotonic()
        served.process.send_signal(signal.SIGTERM)
        assert served.process.wait(15) == 0
        assert grace_s * 0.9 < time.monotonic() - started_s < grace_s * 1.8
        assert asked.exception() is not None
        assert posted.exception() is not None or posted.result().status_code >= 499
