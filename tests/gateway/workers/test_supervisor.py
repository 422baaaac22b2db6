"""Several worker processes: one gateway to its callers, its operators and its process manager."""

import asyncio
import hashlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import grpc
import httpx
import pytest
from tritonclient.grpc import service_pb2, service_pb2_grpc

from gateway.place import Place
from gateway.security import memory_buckets
from gateway.settings import load
from gateway.workers import supervisor as supervising
from gateway.workers.supervisor import Supervisor, ending
from tests.gateway.conftest import until
from tests.gateway.fake_triton import FakeTriton
from tests.gateway.processes import Served, environment, gateway, process, status, wait_until
from tests.ports import free_ports
from tests.tiny_model import publish_tiny

KEYS = {"authorization": "Bearer secret"}
ADMIN = {"authorization": "Bearer adminkey"}


def line(key: str, rest: str) -> str:
    """A line of a keys file."""
    return f"{hashlib.sha256(key.encode()).hexdigest()} {rest}\n"


def children(pid: int) -> list[int]:
    """The worker processes of a supervisor."""
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def is_alive(pid: int) -> bool:
    """Whether the process runs; a zombie does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def listeners(port: int) -> int:
    """How many sockets listen on the port."""
    rows = [row.split() for name in ("tcp", "tcp6") for row in Path(f"/proc/net/{name}").read_text().splitlines()[1:]]
    return sum(row[3] == "0A" and int(row[1].rpartition(":")[2], 16) == port for row in rows)


@contextmanager
def several(repository: Path, logs: Path, triton: str, count: int = 2, **settings: str | float) -> Iterator[Served]:
    """A gateway whose workers all serve."""
    with gateway(repository, logs, int(triton.rpartition(":")[2]), workers=count, **settings) as served:
        wait_until(lambda: served.metric("retort_serving_workers") == count, 20, log_of(served, logs))
        yield served


def log_of(served: Served, logs: Path) -> Path:
    """The log that `gateway` writes."""
    return logs / f"gateway-{served.port}.log"


def predict(served: Served, headers: dict[str, str] | None = None) -> int:
    """The status of a request on a connection of its own, which any worker may get; 0: it broke."""
    try:
        return httpx.post(f"{served.url}/predict", json={"text": "good"}, headers=headers, timeout=30).status_code
    except httpx.TransportError:
        return 0


def sample(served: Served, start: str) -> float:
    """The sum of the samples whose line starts so."""
    lines = httpx.get(f"http://127.0.0.1:{served.metrics_port}/metrics").text.splitlines()
    return sum(float(line.split()[-1]) for line in lines if line.startswith(start))


def answered(served: Served) -> float:
    """How many predictions were answered, as the metrics say."""
    return sample(served, 'retort_requests_total{code="200",cohort="stable"')


@pytest.fixture
def settings(tmp_path: Path) -> dict[str, str | float]:
    """Keys for callers and administrators, and watches that are too slow to be what a test sees."""
    (tmp_path / "keys").write_text(line("secret", "alice"))
    (tmp_path / "admin").write_text(line("adminkey", "root"))
    return {
        "api_keys_file": str(tmp_path / "keys"),
        "admin_key_file": str(tmp_path / "admin"),
        "admin_port": free_ports(1)[0],
        "gateway_poll_s": 1000,
        "gateway_secrets_poll_s": 1000,
    }


def test_they_are_one_gateway_in_its_figures(published: Path, threaded_triton: FakeTriton, tmp_path: Path) -> None:
    with several(published, tmp_path, threaded_triton.url, 3) as served, ThreadPoolExecutor(24) as pool:
        assert len(children(served.process.pid)) == listeners(served.port) == 3
        assert [predict(served) for _ in range(24)] == [200] * 24
        assert answered(served) == 24
        assert sample(served, 'retort_request_duration_seconds_count{cohort="stable"') == 24
        threaded_triton.delay_s = 3.0
        pending = [pool.submit(predict, served) for _ in range(24)]
        wait_until(lambda: served.metric("retort_inflight_requests") == 24, 3)
        wait_until(lambda: sample(served, "retort_queue_depth") == 24 - batched(threaded_triton, 24), 3)
        threaded_triton.delay_s = 0.0
        assert {one.result() for one in pending} == {200}
        assert served.metric("retort_inflight_requests") == 0
        assert sample(served, "retort_queue_depth") == 0
        assert sample(served, "process_resident_memory_bytes") > 3 * 60e6


def batched(triton: FakeTriton, before: int) -> int:
    """Rows that came to Triton after the first `before` requests."""
    return sum(request.inputs[0].shape[0] for request in triton.requests[before:])


def test_grpc_is_served_by_all(published: Path, threaded_triton: FakeTriton, tmp_path: Path) -> None:
    with several(published, tmp_path, threaded_triton.url) as served:
        request = service_pb2.ModelInferRequest(model_name="tiny")
        request.inputs.add(name="text", datatype="BYTES", shape=[1, 1]).contents.bytes_contents.append(b"good")
        options = [("grpc.use_local_subchannel_pool", 1)]  # a connection a channel
        for _ in range(16):
            with grpc.insecure_channel(f"127.0.0.1:{served.grpc_port}", options=options) as channel:
                service_pb2_grpc.GRPCInferenceServiceStub(channel).ModelInfer(request, timeout=10)
        assert sample(served, 'retort_requests_total{code="200",cohort="stable",model="tiny",route="grpc_infer"') == 16


def test_a_killed_worker_is_replaced_and_what_it_counted_stays(
    published: Path, threaded_triton: FakeTriton, tmp_path: Path
) -> None:
    with several(published, tmp_path, threaded_triton.url) as served:
        for _ in range(20):
            predict(served)
        for counted, killed in enumerate(list(children(served.process.pid))):
            assert answered(served) == 20 + 5 * counted  # what was shown must not fall
            os.kill(killed, signal.SIGKILL)
            wait_until(lambda killed=killed: killed not in children(served.process.pid), 5)  # type: ignore[misc]
            assert [predict(served) for _ in range(5)] == [200] * 5  # by the other one
            assert status(f"{served.url}/readyz") == 200
            wait_until(lambda: served.metric("retort_serving_workers") == 2, 20, log_of(served, tmp_path))
        assert answered(served) == 30
        assert served.metric("retort_worker_restarts_total") == 2
        assert "ended (killed by SIGKILL); another starts in" in log_of(served, tmp_path).read_text()


def test_when_the_supervisor_is_killed_the_workers_end(
    published: Path, threaded_triton: FakeTriton, tmp_path: Path
) -> None:
    with several(published, tmp_path, threaded_triton.url) as served, ThreadPoolExecutor(4) as pool:
        orphans = children(served.process.pid)
        threaded_triton.delay_s = 1.0
        pending = [pool.submit(predict, served) for _ in range(4)]
        wait_until(lambda: bool(threaded_triton.requests), 5)
        served.process.send_signal(signal.SIGKILL)
        assert {one.result() for one in pending} == {200}
        wait_until(lambda: not any(is_alive(orphan) for orphan in orphans), 10)
        assert listeners(served.port) == 0
        assert "the supervisor is gone: draining" in log_of(served, tmp_path).read_text()


@pytest.mark.parametrize("to_group", [False, True], ids=["to the supervisor", "to the group"])
def test_a_drain_under_load_loses_nothing(
    published: Path, threaded_triton: FakeTriton, tmp_path: Path, to_group: bool
) -> None:
    threaded_triton.delay_s = 0.05
    codes: Counter[int] = Counter()
    with several(published, tmp_path, threaded_triton.url, gateway_drain_s=5) as served:
        away = threading.Event()

        def load() -> None:
            while not away.is_set():
                codes[predict(served)] += 1

        with ThreadPoolExecutor(8) as pool:
            callers = [pool.submit(load) for _ in range(8)]
            time.sleep(1)
            ended = children(served.process.pid)
            try:
                if to_group:
                    os.killpg(served.process.pid, signal.SIGTERM)
                else:
                    served.process.send_signal(signal.SIGTERM)
                wait_until(lambda: {status(f"{served.url}/readyz") for _ in range(8)} == {503}, 4)  # whoever is asked
                time.sleep(0.5)  # a balancer's interval
            finally:
                away.set()
            for caller in callers:
                caller.result()
        assert served.process.wait(15) == 0
        assert not any(is_alive(worker) for worker in ended)
    assert set(codes) == {200}
    assert codes[200] > 50


def test_ctrl_c_lets_answers_out_and_asking_twice_does_not(
    published: Path, threaded_triton: FakeTriton, tmp_path: Path
) -> None:
    threaded_triton.delay_s = 1.0
    with several(published, tmp_path, threaded_triton.url, gateway_drain_s=30) as served, ThreadPoolExecutor(1) as pool:
        pending = pool.submit(predict, served)
        wait_until(lambda: bool(threaded_triton.requests), 5)
        os.killpg(served.process.pid, signal.SIGINT)  # as a terminal does
        assert pending.result() == 200
        assert served.process.wait(5) == 0
    threaded_triton.delay_s = 30.0
    threaded_triton.requests.clear()
    with several(published, tmp_path, threaded_triton.url, gateway_drain_s=30) as served, ThreadPoolExecutor(1) as pool:
        ended = children(served.process.pid)
        pending = pool.submit(predict, served)
        wait_until(lambda: bool(threaded_triton.requests), 5)
        served.process.send_signal(signal.SIGTERM)
        wait_until(lambda: status(f"{served.url}/readyz") == 503, 2)
        served.process.send_signal(signal.SIGTERM)
        assert served.process.wait(5) == 0
        assert not any(is_alive(worker) for worker in ended)
        assert pending.result() in (0, 503)
    assert "Traceback" not in log_of(served, tmp_path).read_text()


def test_a_worker_that_hangs_does_not_hold_the_end_up(
    published: Path, threaded_triton: FakeTriton, tmp_path: Path
) -> None:
    with several(published, tmp_path, threaded_triton.url) as served:
        ended = children(served.process.pid)
        os.kill(ended[0], signal.SIGSTOP)
        served.process.send_signal(signal.SIGTERM)
        wait_until(lambda: not is_alive(ended[1]), 5)
        served.process.send_signal(signal.SIGTERM)
        assert served.process.wait(5) == 0
        assert not any(is_alive(worker) for worker in ended)
    assert "does not end: killed" in log_of(served, tmp_path).read_text()


def test_the_end_during_the_start_is_the_end(published: Path, tmp_path: Path) -> None:
    http, metrics = free_ports(2)
    variables = environment(
        model_repository=published, triton_urls="127.0.0.1:1", http_port=http, metrics_port=metrics, workers=4
    )
    with process("gateway", variables, tmp_path / "log") as starting:
        wait_until(lambda: len(children(starting.pid)) == 4, 10)  # one serves, three have only just begun
        ended = children(starting.pid)
        os.killpg(starting.pid, signal.SIGINT)
        assert starting.wait(5) == 0
        assert not any(is_alive(worker) for worker in ended)
    assert "Traceback" not in (tmp_path / "log").read_text()


def fails(**settings: str | int | Path) -> str:
    """Run workers that must not start; return the one sentence that they say."""
    ended = subprocess.run(
        [sys.executable, "-m", "gateway"],
        env=environment(workers=3, **settings),
        capture_output=True,
        text=True,
        timeout=20,
    )
    assert ended.returncode == 1
    assert len(ended.stderr.strip().splitlines()) == 1, ended.stderr
    assert ended.stderr.startswith("error: ")
    return ended.stderr


@pytest.mark.parametrize("reuse_port", [False, True])
@pytest.mark.parametrize("name", ["http_port", "grpc_port", "admin_port", "metrics_port"])
def test_a_port_in_use_is_one_sentence(published: Path, tmp_path: Path, name: str, reuse_port: bool) -> None:
    (tmp_path / "admin").write_text(line("adminkey", "root"))
    names = ("http_port", "grpc_port", "admin_port", "metrics_port")
    ports = dict(zip(names, free_ports(4), strict=True))
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, int(reuse_port))  # as another gateway's workers
        taken.bind(("127.0.0.1", ports[name]))
        taken.listen()
        said = fails(model_repository=published, admin_key_file=tmp_path / "admin", **ports)
    assert f"127.0.0.1:{ports[name]}" in said
    assert f"RETORT_{name.upper()}" in said


def test_what_no_worker_can_start_with_is_one_sentence(published: Path, tmp_path: Path) -> None:
    http, metrics = free_ports(2)
    own: dict[str, str | int | Path] = {"http_port": http, "metrics_port": metrics}
    assert "Protocol not known: foo" in fails(model_repository="foo://x", **own)
    assert "RETORT_AUTH=off" in fails(model_repository=published, host="0.0.0.0", **own)
    (tmp_path / "keys").write_text("no key\n")
    assert "line 1: expected" in fails(model_repository=published, api_keys_file=tmp_path / "keys", **own)


def test_a_rate_is_the_keys_whatever_worker_is_asked(
    published: Path, threaded_triton: FakeTriton, tmp_path: Path, settings: dict[str, str | float]
) -> None:
    (tmp_path / "keys").write_text(line("secret", "alice rate=10 burst=10") + line("other", "bob rate=0.01 burst=12"))
    with several(published, tmp_path, threaded_triton.url, 4, **settings) as served, ThreadPoolExecutor(8) as pool:
        began_s = time.monotonic()
        codes = Counter(pool.map(lambda _: predict(served, KEYS), range(200)))
        took_s = time.monotonic() - began_s
        assert set(codes) == {200, 429}
        assert 10 <= codes[200] <= 10 + 10 * took_s
        other = {"authorization": "Bearer other"}
        with httpx.Client(base_url=served.url, headers=other) as one_connection:
            alone = [one_connection.post("/predict", json={"text": "good"}).status_code for _ in range(13)]
        assert alone == [200] * 12 + [429]  # the whole of it, though one worker alone was asked


def test_the_bound_of_requests_inside_is_the_wholes(
    published: Path, threaded_triton: FakeTriton, tmp_path: Path
) -> None:
    threaded_triton.delay_s = 4.0
    with (
        several(published, tmp_path, threaded_triton.url, gateway_max_inflight=5) as served,
        ThreadPoolExecutor(40) as pool,
    ):
        codes = Counter(pool.map(lambda _: predict(served), range(40)))
    assert codes == {200: 5, 429: 35}


def test_orders_of_the_admin_api_reach_every_worker(
    repository: Path, threaded_triton: FakeTriton, tmp_path: Path, settings: dict[str, str | float]
) -> None:
    with several(repository, tmp_path, threaded_triton.url, 3, **settings) as served:
        with httpx.Client(base_url=f"http://127.0.0.1:{settings['admin_port']}/admin/v1", headers=ADMIN) as admin:
            found = admin.get("/status").json()
            assert sorted(worker["pid"] for worker in found["workers"]) == sorted(children(served.process.pid))
            assert [worker["worker"] for worker in found["workers"]] == [0, 1, 2]
            assert (found["ready"], found["draining"], found["inflight"]) == (True, False, 0)

            (tmp_path / "keys").write_text(line("renewed", "alice"))
            assert admin.post("/keys/reload").status_code == 200
            renewed = {"authorization": "Bearer renewed"}
            assert {predict(served, renewed) for _ in range(24)} == {200}
            assert {predict(served, KEYS) for _ in range(24)} == {401}
            (tmp_path / "keys").write_text("broken\n")
            refused = admin.post("/keys/reload")
            assert (refused.status_code, "line 1: expected" in refused.text) == (400, True)

            publish_tiny(repository, swapped=True)
            admin.post("/catalog/refresh")
            answers = [httpx.get(f"{served.url}/readyz", headers=renewed).json() for _ in range(24)]
            seen = [set(answer["models"]["tiny"]["versions"]) for answer in answers]
            assert seen == [{"1", "2"}] * 24

            admin.put("/log-level", json={"level": "error"})
        levels = [httpx.get(f"{url_of(settings)}/log-level", headers=ADMIN).json()["level"] for _ in range(24)]
        assert set(levels) == {"error"}
        (tmp_path / "keys").write_text(line("renewed", "alice"))
        killed = children(served.process.pid)[0]
        os.kill(killed, signal.SIGKILL)
        wait_until(lambda: killed not in children(served.process.pid), 5)
        wait_until(lambda: served.metric("retort_serving_workers") == 3, 20, log_of(served, tmp_path))
        levels = [httpx.get(f"{url_of(settings)}/log-level", headers=ADMIN).json()["level"] for _ in range(24)]
        assert set(levels) == {"error"}  # the new one's too


def url_of(settings: dict[str, str | float]) -> str:
    """Where the admin API is."""
    return f"http://127.0.0.1:{settings['admin_port']}/admin/v1"


def readiness(served: Served) -> set[int]:
    """What several connections hear of /readyz; those of a worker that is stopped hear nothing."""
    codes = set()
    for _ in range(16):
        try:
            codes.add(httpx.get(f"{served.url}/readyz", timeout=0.2).status_code)
        except httpx.TimeoutException:
            continue
    return codes


def test_it_is_ready_when_every_worker_is(published: Path, threaded_triton: FakeTriton, tmp_path: Path) -> None:
    late, (http, grpc_port, metrics) = tmp_path / "late", free_ports(3)
    variables = environment(
        model_repository=late,
        triton_urls=threaded_triton.url,
        http_port=http,
        grpc_port=grpc_port,
        metrics_port=metrics,
        gateway_drain_s=0,
        gateway_poll_s=0.1,
        workers=2,
    )
    with process("gateway", variables, tmp_path / "log") as running:
        served = Served(running, http, grpc_port, metrics, 0)
        wait_until(lambda: listeners(grpc_port) == 2, 20, tmp_path / "log")
        assert readiness(served) == {503}
        stopped = children(running.pid)[0]
        os.kill(stopped, signal.SIGSTOP)
        shutil.copytree(published, late)
        time.sleep(1)  # the other has read it by now, and would answer
        assert readiness(served) == {503}
        os.kill(stopped, signal.SIGCONT)
        wait_until(lambda: readiness(served) == {200}, 10)


def test_a_new_worker_serves_when_it_can_answer(repository: Path, threaded_triton: FakeTriton, tmp_path: Path) -> None:
    with several(repository, tmp_path, threaded_triton.url, gateway_poll_s=0.2) as served:

        def startups() -> int:
            return log_of(served, tmp_path).read_text().count("Waiting for application startup")

        before = startups()
        away = repository.rename(tmp_path / "away")
        killed = children(served.process.pid)[0]
        os.kill(killed, signal.SIGKILL)
        wait_until(lambda: "cannot list the model repository" in log_of(served, tmp_path).read_text(), 10)
        wait_until(lambda: startups() == before + 1, 20)
        time.sleep(0.5)
        assert readiness(served) == {200}
        assert {predict(served) for _ in range(10)} == {200}
        assert listeners(served.port) == 1
        away.rename(repository)
        wait_until(lambda: listeners(served.port) == 2, 10, log_of(served, tmp_path))
        assert readiness(served) == {200}


async def test_a_worker_that_does_nothing_any_more_is_replaced(
    published: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    http, grpc_port, metrics = free_ports(3)
    variables = environment(
        model_repository=published,
        triton_urls="127.0.0.1:1",
        http_port=http,
        grpc_port=grpc_port,
        metrics_port=metrics,
        workers=2,
        gateway_drain_s=0,
    )
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(supervising, "FIGURES_EVERY_S", 0.1)
    monkeypatch.setattr(supervising, "SILENCE_S", 3.0)
    place = Place(workers=2, http_port=http, grpc_port=grpc_port, buckets=memory_buckets.allocate(), log_level="info")
    supervisor = Supervisor(load(), place)
    running = asyncio.create_task(supervisor.run())

    pids: set[int] = set()  # of those that have been stopped

    async def both_serve() -> bool:
        serving = {worker.process.pid for worker in supervisor._serving()}
        return len(serving - pids) == 2

    try:
        await until(both_serve, 20)
        stopped = supervisor._workers[1].process.pid
        pids.add(stopped)
        os.kill(stopped, signal.SIGSTOP)
        await until(both_serve, 30)
    finally:
        supervisor._stop(signal.SIGTERM)
        assert await asyncio.wait_for(running, 20) == 0
        os.close(place.buckets)


@pytest.mark.parametrize(("status", "said"), [(1, "exit status 1"), (-9, "killed by SIGKILL")])
def test_endings(status: int, said: str) -> None:
    assert ending(status) == said
