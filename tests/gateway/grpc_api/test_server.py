"""The gRPC server: clients move on before a gateway that drains closes."""

import time
from pathlib import Path

import grpc
from tritonclient.grpc import service_pb2, service_pb2_grpc

from tests.gateway.processes import gateway, wait_until
from tests.ports import free_ports

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
