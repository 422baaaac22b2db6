"""Faults in real processes: Triton killed, stopped, silent, mute or half gone; callers that leave; a restart."""

import logging
import os
import shutil
import signal
import socket
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from threading import Event

import grpc
import httpx
import pytest
from tritonclient.grpc import service_pb2_grpc

from tests.gateway.fake_triton import threaded_triton
from tests.gateway.leaks import assert_no_more_than, at_rest
from tests.gateway.load import CHAOS, WARM_UP, Load
from tests.gateway.processes import Served, gateway, status, wait_until
from tests.gateway.test_grpc_fuzz import good_text
from tests.model_server_process import ModelServer, model_server
from tests.ports import free_ports

log = logging.getLogger(__name__)

WHOLE_S = 2.0  # the promise: full service so soon after Triton is ready again
LEAVING = 100


def served_by_now(server: ModelServer) -> None:
    """Wait until Triton serves the model."""
    url = f"http://127.0.0.1:{server.http}/v2/models/tiny/ready"
    wait_until(lambda: status(url) == 200, 40, server.log)


def assert_whole(load: Load, ready_s: float, what: str) -> None:
    """Only good answers and those that say what is wrong; nobody waited for ever; full service soon after `ready_s`."""
    log.info("%s: %s, whole after %.2f s", what, dict(load.codes()), load.whole_after_s(ready_s))
    assert set(load.codes()) <= {200, 503, 504}
    assert load.slowest_s() < load.deadline_ms / 1e3 + 1
    assert load.whole_after_s(ready_s) < WHOLE_S
    assert load.codes(ready_s + WHOLE_S)[200] > 20


def test_triton_stopped_for_five_seconds(published: Path, live_triton: ModelServer, tmp_path: Path) -> None:
    pid = live_triton.triton_pid()
    with gateway(published, tmp_path, live_triton.grpc) as served, Load(served.url).running() as load:
        time.sleep(0.5)
        os.kill(pid, signal.SIGSTOP)
        try:
            time.sleep(5)
        finally:
            os.kill(pid, signal.SIGCONT)
        ready_s = time.monotonic()
        time.sleep(WHOLE_S + 1)
    assert set(load.codes()) > {200}, "nobody noticed"
    assert_whole(load, ready_s, "SIGSTOP")


def test_one_of_two_tritons_killed(published: Path, live_triton: ModelServer, tmp_path: Path) -> None:
    with model_server(published, tmp_path / "other.log") as other:
        served_by_now(other)
        with gateway(published, tmp_path, live_triton.grpc, other.grpc) as served, Load(served.url).running() as load:
            time.sleep(0.5)
            os.kill(other.triton_pid(), signal.SIGKILL)
            time.sleep(2)
            state = httpx.get(f"{served.url}/readyz").json()["upstreams"][f"127.0.0.1:{other.grpc}"]
            assert "breaker open" in state
    assert set(load.codes()) == {200}, "the retry must hide the dead one"


def test_one_of_two_tritons_stopped(published: Path, live_triton: ModelServer, tmp_path: Path) -> None:
    with model_server(published, tmp_path / "other.log") as other:
        served_by_now(other)
        pid = other.triton_pid()
        with gateway(published, tmp_path, live_triton.grpc, other.grpc) as served:
            hurried, patient = Load(served.url, deadline_ms=1000), Load(served.url, deadline_ms=15_000)
            with hurried.running(8), patient.running(2):
                time.sleep(1)
                os.kill(pid, signal.SIGSTOP)
                try:
                    time.sleep(4)
                finally:
                    os.kill(pid, signal.SIGCONT)
    slow = sum(answer.took_s > 0.4 for load in (hurried, patient) for answer in load.since())
    log.info("one of two stopped: %s, %s, %d slow", hurried.codes(), patient.codes(), slow)
    assert set(hurried.codes()) | set(patient.codes()) == {200}, "a patient caller must not take the others' retry away"
    assert patient.slowest_s() < 2
    assert slow < 60  # the batches in flight, and the few that followed


def test_triton_killed_under_load_and_started_again(published: Path, tmp_path: Path) -> None:
    names = ("triton_http_port", "triton_grpc_port", "triton_metrics_port", "loader_port")
    numbers = free_ports(len(names))
    ports = {name: str(number) for name, number in zip(names, numbers, strict=True)}
    with gateway(published, tmp_path, numbers[1]) as served, Load(served.url).running() as load:
        with model_server(published, tmp_path / "first.log", **ports) as triton:
            wait_until(lambda: load.codes()[200] > 0, 40, triton.log)
            os.kill(triton.triton_pid(), signal.SIGKILL)
            triton.process.wait(10)
        with model_server(published, tmp_path / "second.log", **ports) as again:
            url = f"http://127.0.0.1:{numbers[0]}/v2/models/tiny/ready"
            wait_until(lambda: status(url) == 200, 40, again.log)
            ready_s = time.monotonic()
            time.sleep(WHOLE_S + 1)
            load.done.set()
            time.sleep(0.5)  # the last calls end before their Triton does
    assert set(load.codes()) > {200}
    assert_whole(load, ready_s, "kill -9")


def test_a_triton_that_accepts_and_never_answers(published: Path, tmp_path: Path) -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as silent,
        gateway(published, tmp_path, silent.getsockname()[1]) as served,
        Load(served.url, deadline_ms=1500).running() as load,
    ):
        time.sleep(4)
    assert set(load.codes()) <= {503, 504}
    assert load.slowest_s() < load.deadline_ms / 1e3 + 1


def test_a_triton_that_is_ready_and_infers_nothing(published: Path, live_triton: ModelServer, tmp_path: Path) -> None:
    with threaded_triton() as mute:
        mute.delay_s = 3600.0
        mute_port = int(mute.url.rpartition(":")[2])
        with gateway(published, tmp_path, live_triton.grpc, mute_port) as served:
            with Load(served.url).running() as load:
                wait_until(lambda: "breaker open" in served.inside()["upstreams"][mute.url], 8)
                open_s = time.monotonic()
                asked = len(mute.requests)
                time.sleep(4)
                assert "breaker open" in served.inside()["upstreams"][mute.url]
                trials = len(mute.requests) - asked
                mute.delay_s = 0.0
                ready_s = time.monotonic()
                wait_until(lambda: served.inside()["upstreams"][mute.url] == "ready", WHOLE_S)
            logged = next(tmp_path.glob("gateway-*.log")).read_text()
    started_s = load.answers[0].at_s
    slow = sum(answer.took_s > 0.5 for answer in load.since(0))
    log.info(
        "mute: open after %.1f s, %d of %d answers slow, %s", open_s - started_s, slow, len(load.since(0)), load.codes()
    )
    assert set(load.codes()) == {200}, "the other one answers for it"
    in_flight_s = load.deadline_ms / 2e3 + 0.5  # who was asking it then turns to the other at half of the deadline
    assert load.slowest_s(open_s + in_flight_s) < 0.5, "nobody waits for the mute one any more"
    assert slow < 30
    assert 1 <= trials <= 4 / 0.9, "one trial at a time, and no caller's request is spent on it"
    assert logged.count("its breaker closes") == 1, "being ready must not close it"
    assert load.codes(ready_s)[200] > 0


def test_callers_that_leave_leave_nothing_behind(published: Path, tmp_path: Path) -> None:
    body = b'{"text": "a good film"}'
    head = f"POST /predict HTTP/1.1\r\nhost: g\r\ncontent-length: {len(body)}\r\n\r\n".encode()
    with (
        socket.create_server(("127.0.0.1", 0)) as silent,
        gateway(published, tmp_path, silent.getsockname()[1]) as served,
    ):

        def come_and_go() -> None:
            for sent in (head + body, head + body[:5], head[:20]):
                with socket.create_connection(("127.0.0.1", served.port)) as caller:
                    caller.sendall(sent)
            with grpc.insecure_channel(f"127.0.0.1:{served.grpc_port}") as channel:
                stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
                stub.ModelInfer.future(good_text(), timeout=10)  # closing the channel cancels it

        for _ in range(LEAVING * WARM_UP):
            come_and_go()
        before = at_rest(served)
        for _ in range(LEAVING * CHAOS):
            come_and_go()
        assert_no_more_than(before, served, f"{4 * LEAVING * CHAOS} callers that left")
        assert status(f"{served.url}/healthz") == 200


def is_open(port: int) -> bool:
    """Whether somebody listens."""
    with socket.socket() as caller:
        return caller.connect_ex(("127.0.0.1", port)) == 0


@contextmanager
def balancer(folder: Path, mode: str, *servers: str) -> Iterator[int]:
    """haproxy in front of servers, which it asks for /readyz; yields its port."""
    (front,) = free_ports(1)
    config = folder / "haproxy.cfg"
    config.write_text(
        f"defaults\n mode {mode}\n timeout connect 1s\n timeout client 20s\n timeout server 20s\n"
        " retries 0\n no option redispatch\n"  # what the gateway loses is lost
        f"frontend f\n bind 127.0.0.1:{front}\n default_backend b\n"
        "backend b\n option httpchk GET /readyz\n default-server check inter 200ms fall 2 rise 1\n"
        + "".join([f" server s{number} {server}\n" for number, server in enumerate(servers)])
    )
    running = subprocess.Popen(["haproxy", "-db", "-f", str(config)])
    try:
        wait_until(lambda: is_open(front), 5)
        yield front
    finally:
        running.terminate()
        running.wait(5)


@pytest.mark.skipif(shutil.which("haproxy") is None, reason="haproxy is not installed: NO PROOF of a drain behind one")
def test_a_gateway_that_drains_behind_a_load_balancer(
    published: Path, live_triton: ModelServer, tmp_path: Path
) -> None:
    with (
        gateway(published, tmp_path, live_triton.grpc, gateway_drain_s=2) as one,
        gateway(published, tmp_path, live_triton.grpc) as two,
        balancer(tmp_path, "http", f"127.0.0.1:{one.port}", f"127.0.0.1:{two.port}") as front,
        Load(f"http://127.0.0.1:{front}").running() as load,
    ):
        time.sleep(0.5)
        one.process.send_signal(signal.SIGTERM)
        assert one.process.wait(10) == 0
        time.sleep(0.5)
    log.info("rolling restart behind haproxy: %s", dict(load.codes()))
    assert set(load.codes()) == {200}


@contextmanager
def grpc_load(address: str, options: list[tuple[str, str | int]]) -> Iterator[Counter[str]]:
    """Four callers over gRPC, each on a channel of its own and never asking twice; how often each status came."""
    codes: Counter[str] = Counter()
    done = Event()
    once = [("grpc.enable_retries", 0), ("grpc.use_local_subchannel_pool", 1)]

    def call() -> None:
        with grpc.insecure_channel(address, options=[*options, *once]) as channel:
            infer = service_pb2_grpc.GRPCInferenceServiceStub(channel).ModelInfer
            while not done.is_set():
                codes[infer.future(good_text(), timeout=5).code().name] += 1
                time.sleep(0.005)

    with ThreadPoolExecutor(4) as pool:
        callers = [pool.submit(call) for _ in range(4)]
        try:
            yield codes
        finally:
            done.set()
        for caller in callers:
            caller.result()


def restarted_under_grpc_load(one: Served, two: Served, address: str, *options: tuple[str, str | int]) -> None:
    """End one of two gateways while both are asked; every call is answered."""

    def are_asked() -> bool:
        return all(
            '"grpc_infer"' in httpx.get(f"http://127.0.0.1:{each.metrics_port}/metrics").text for each in (one, two)
        )

    with grpc_load(address, list(options)) as codes:
        wait_until(are_asked, 5)
        one.process.send_signal(signal.SIGTERM)
        assert one.process.wait(15) == 0
        time.sleep(0.5)
    log.info("one of two gateways ends under gRPC load: %s", dict(codes))
    assert set(codes) == {"OK"}


def test_a_gateway_that_drains_among_grpc_clients_that_choose(
    published: Path, live_triton: ModelServer, tmp_path: Path
) -> None:
    chooses = '{"loadBalancingConfig": [{"round_robin": {}}], "healthCheckConfig": {"serviceName": ""}}'
    with (
        gateway(published, tmp_path, live_triton.grpc, gateway_drain_s=5) as one,
        gateway(published, tmp_path, live_triton.grpc) as two,
    ):
        address = f"ipv4:127.0.0.1:{one.grpc_port},127.0.0.1:{two.grpc_port}"
        restarted_under_grpc_load(one, two, address, ("grpc.service_config", chooses))


@pytest.mark.skipif(shutil.which("haproxy") is None, reason="haproxy is not installed: NO PROOF of a drain behind one")
def test_a_gateway_that_drains_behind_a_balancer_of_connections(
    published: Path, live_triton: ModelServer, tmp_path: Path
) -> None:
    with (
        gateway(published, tmp_path, live_triton.grpc, gateway_drain_s=5) as one,
        gateway(published, tmp_path, live_triton.grpc) as two,
        balancer(
            tmp_path,
            "tcp",
            f"127.0.0.1:{one.grpc_port} port {one.port}",
            f"127.0.0.1:{two.grpc_port} port {two.port}",
        ) as front,
    ):
        restarted_under_grpc_load(one, two, f"127.0.0.1:{front}")
