"""The loader against a real Triton: stable answers whatever lies beside it, promotion loses nothing."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event, Thread

from model_server.launcher import command, copy_backends, environment, region_prefix, remove_leftovers
from model_server.settings import Settings
from tests.model_server_process import ModelServer, model_server
from tests.ports import free_ports
from tests.tiny_model import publish_tiny
from training.publish import Published

GOOD_FILM = [[2, 4, 12, 6, 3]]  # "a great film": [0, 2] from the tiny model, [2, 0] from the swapped one


def logits(server: ModelServer, version: int | None = None) -> list[float]:
    status, answer = server.infer(GOOD_FILM, version=version)
    assert status == 200, answer
    return [float(value) for value in answer["outputs"][0]["data"]]


def promote(repository: Path, published: Published) -> None:
    content = json.dumps({"version": published.version, "digest": published.digest})
    staged = repository / "tiny" / ".stable.json.new"
    staged.write_text(content)
    staged.rename(repository / "tiny" / "stable.json")


def test_a_broken_second_version_never_stops_the_stable_one_even_across_restarts(
    repository: Path, tmp_path: Path
) -> None:
    publish_tiny(repository)
    publish_tiny(repository, broken=True)  # digests are right, Triton cannot load it
    tampered = publish_tiny(repository)  # never offered to Triton
    (tampered.path / "model.onnx").write_bytes(b"tampered")
    for restarted in (False, True):  # the second time both lie there before Triton starts
        with model_server(repository, tmp_path / "log") as server:
            entry = server.wait("tiny", ready=True, loaded=[1])
            assert logits(server, version=1) == [0, 2]
            entry = server.wait("tiny", ready=True, loaded=[1])
            failed = _wait_for_failure(server)
            assert "model.onnx" in entry["rejected"]["3"]
            assert "2" in failed
            assert logits(server) == [0, 2]
            assert server.infer(GOOD_FILM, version=3)[0] >= 400
            if restarted:
                publish_tiny(repository, swapped=True)
                server.wait("tiny", ready=True, loaded=[1, 4])
                assert logits(server, version=1) == [0, 2]
                assert logits(server, version=4) == [2, 0]


def test_a_promotion_loses_no_request_and_the_former_stable_goes_after_the_grace(
    repository: Path, tmp_path: Path
) -> None:
    publish_tiny(repository)
    with model_server(repository, tmp_path / "log", loader_grace_s="1") as server:
        server.wait("tiny", ready=True, loaded=[1])
        second = publish_tiny(repository, swapped=True)
        failures: list[object] = []
        done = Event()

        def hammer() -> None:
            version = 1
            while not done.is_set():
                status, answer = server.infer(GOOD_FILM, version=version)
                if status != 200:
                    failures.append(answer)
                version = server.status()["models"]["tiny"]["stable"] or version

        thread = Thread(target=hammer)
        thread.start()
        try:
            server.wait("tiny", loaded=[1, 2])
            promote(repository, second)
            server.wait("tiny", ready=True, stable=2)
            assert logits(server, version=1) == [0, 2]  # gateways that have not read stable.json yet
            server.wait("tiny", ready=True, stable=2, loaded=[2])
        finally:
            done.set()
            thread.join()
        assert not failures
        assert logits(server) == [2, 0]


def test_a_stable_that_does_not_load_is_not_ready_and_the_former_one_stays(repository: Path, tmp_path: Path) -> None:
    publish_tiny(repository)
    with model_server(repository, tmp_path / "log", loader_grace_s="0.2") as server:
        server.wait("tiny", ready=True)
        promote(repository, publish_tiny(repository, broken=True))
        server.wait("tiny", ready=False, stable=2)
        deadline = time.monotonic() + 20
        while server.log.read_text().count("version 2 does not load") < 2:  # the second try is past the grace
            assert time.monotonic() < deadline
            assert logits(server, version=1) == [0, 2]
        assert logits(server, version=1) == [0, 2]


def test_one_models_trouble_does_not_take_the_pod_out_of_service(repository: Path, tmp_path: Path) -> None:
    publish_tiny(repository)
    with model_server(repository, tmp_path / "log") as server:
        server.wait("tiny", ready=True)
        publish_tiny(repository, "other", broken=True)
        server.wait("other", ready=False)
        stable = repository / "tiny" / "stable.json"
        content = stable.read_text()
        stable.write_text("{")
        server.wait("tiny", stable=None, answering=1)
        assert server.status()["ready"]
        stable.write_text(content)
        repository.rename(tmp_path / "away")
        time.sleep(0.5)  # several looks
        assert server.status()["ready"]
        assert logits(server) == [0, 2]
        assert server.log.read_text().count("what is loaded stays") == 2  # stable.json once, the repository once


def test_models_come_and_go(repository: Path, tmp_path: Path) -> None:
    with model_server(repository, tmp_path / "log") as server:  # the repository does not exist yet
        publish_tiny(repository)
        server.wait("tiny", ready=True)
        publish_tiny(repository, "other")
        server.wait("other", ready=True)
        shutil.rmtree(repository / "other")
        server.wait("other", ready=None)
        assert server.infer(GOOD_FILM, model="other")[0] == 404
        assert logits(server) == [0, 2]


def test_a_triton_that_hangs_is_not_ready_and_is_ready_again(repository: Path, tmp_path: Path) -> None:
    publish_tiny(repository)
    with model_server(repository, tmp_path / "log") as server:
        server.wait("tiny", ready=True)
        os.kill(server.triton_pid(), signal.SIGSTOP)
        try:
            server.wait("tiny", ready=False)
        finally:
            os.kill(server.triton_pid(), signal.SIGCONT)
        server.wait("tiny", ready=True)
        assert logits(server) == [0, 2]


def children(pid: int) -> list[int]:
    tasks = Path(f"/proc/{pid}/task").iterdir()
    return [int(child) for task in tasks for child in (task / "children").read_text().split()]


@contextmanager
def foreign_triton(settings: Settings, backends: Path, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Run a Triton that the loader did not start; its control key is `right`."""
    with log.open("ab") as output:
        line = command(settings, "right", backends)
        process = subprocess.Popen(line, env=environment(settings.triton_home), stdout=output, stderr=output)
    try:
        yield process
    finally:
        for pid in (*children(process.pid), process.pid):  # nobody guards these, and a stub may hang
            os.kill(pid, signal.SIGKILL)
        process.wait()
        remove_leftovers(region_prefix(settings))


@contextmanager
def lone_loader(settings: Settings, log: Path, key: str) -> Iterator[ModelServer]:
    """Run `python -m model_server.loader` beside the Triton of `settings`."""
    (port,) = free_ports(1)
    own = {
        "RETORT_MODEL_REPOSITORY": str(settings.model_repository),
        "RETORT_TRITON_GRPC_PORT": str(settings.triton_grpc_port),
        "RETORT_TRITON_API_KEY": key,
        "RETORT_LOADER_PORT": str(port),
        "RETORT_LOADER_POLL_S": "0.1",
        "RETORT_INSTANCES": "1",
    }
    with log.open("ab") as output:
        line = [sys.executable, "-m", "model_server.loader"]
        process = subprocess.Popen(line, env=os.environ | own, stdout=output, stderr=output)
    try:
        yield ModelServer(process, log, settings.triton_http_port, settings.triton_grpc_port, port)
    finally:
        process.kill()
        process.wait()


def test_alone_beside_a_triton_it_loads_again_after_a_restart_and_ends_on_sigterm(
    repository: Path, tmp_path: Path
) -> None:
    publish_tiny(repository)
    http, grpc, metrics = free_ports(3)
    settings = Settings(
        model_repository=repository, triton_http_port=http, triton_grpc_port=grpc, triton_metrics_port=metrics
    )
    backends = tmp_path / "backends"
    backends.mkdir()
    copy_backends(settings.triton_home, backends)
    with lone_loader(settings, tmp_path / "log", key="right") as server:
        with foreign_triton(settings, backends, tmp_path / "triton.log"):
            server.wait("tiny", ready=True)
            assert logits(server) == [0, 2]
        server.wait("tiny", ready=False)
        with foreign_triton(settings, backends, tmp_path / "triton.log"):
            server.wait("tiny", ready=True)
            assert logits(server) == [0, 2]
            server.process.send_signal(signal.SIGTERM)
            assert server.process.wait(10) == 0
            with lone_loader(settings, tmp_path / "wrong.log", key="wrong") as mistaken:
                mistaken.wait("tiny", ready=False)
                time.sleep(1)  # a dozen looks
                said = [line for line in mistaken.log.read_text().splitlines() if "RETORT_TRITON_API_KEY" in line]
                assert len(said) == 1


def _wait_for_failure(server: ModelServer) -> dict[str, str]:
    deadline = time.monotonic() + 20
    while not (failed := server.status()["models"]["tiny"]["failed"]):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return dict(failed)
