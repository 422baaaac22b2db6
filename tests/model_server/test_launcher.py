"""The launcher: Triton's doors are locked, and no way of ending leaves a process."""

import os
import signal
import socket
import time
from pathlib import Path

import pytest
import tritonclient.grpc as triton

from model_server.launcher import RESTRICTED, SHARED_MEMORY, command, region_prefix, running_triton
from model_server.settings import Settings
from tests.model_server_process import ModelServer, model_server
from tests.ports import free_ports
from tests.processes import alive
from tests.tiny_model import publish_tiny


def gone(pid: int, within_s: float = 20) -> bool:
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        if not alive(pid):
            return True
        time.sleep(0.05)
    return False


def family(pid: int) -> list[int]:
    children = [
        int(child) for task in Path(f"/proc/{pid}/task").iterdir() for child in (task / "children").read_text().split()
    ]
    return children + [below for child in children for below in family(child)]


@pytest.mark.parametrize(
    "path",
    [
        "/v2/repository/index",
        "/v2/repository/models/tiny/load",
        "/v2/repository/models/tiny/unload",
        "/v2/systemsharedmemory/region/x/register",
        "/v2/logging",
        "/v2/trace/setting",
    ],
)
def test_what_gives_control_is_refused_over_http_without_the_key(shared: ModelServer, path: str) -> None:
    assert shared.call(path)[0] == 403
    assert shared.call(path, headers={"retort-key": "guess"})[0] == 403


def test_what_gives_control_is_refused_over_grpc_without_the_key(shared: ModelServer) -> None:
    with triton.InferenceServerClient(f"127.0.0.1:{shared.grpc}") as client:
        assert client.is_model_ready("tiny")
        for call in (
            client.get_model_repository_index,
            lambda: client.load_model("tiny"),
            lambda: client.unload_model("tiny"),
            client.get_system_shared_memory_status,
            client.get_log_settings,
            client.get_trace_settings,
        ):
            with pytest.raises(triton.InferenceServerException, match="restricted"):
                call()


def test_it_listens_on_loopback_unless_told_otherwise() -> None:
    line = command(Settings(), "key", Path("backends"))
    assert [word for word in line if "address" in word] == [
        f"--{door}-address=127.0.0.1" for door in ("http", "grpc", "metrics")
    ]
    assert f"--http-restricted-api={RESTRICTED}:retort-key=key" in line


def test_sigterm_ends_everything_with_status_0(tmp_path: Path) -> None:
    publish_tiny(tmp_path / "repo")
    with model_server(tmp_path / "repo", tmp_path / "log") as server:
        server.wait("tiny", ready=True)
        below = family(server.process.pid)
        assert len(below) >= 2  # tritonserver and its Python stub
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(20) == 0
        assert all(gone(pid) for pid in below)


def test_a_triton_that_dies_ends_the_server_by_name_with_its_last_lines(tmp_path: Path) -> None:
    publish_tiny(tmp_path / "repo")
    with model_server(tmp_path / "repo", tmp_path / "log") as server:
        server.wait("tiny", ready=True)
        below = family(server.process.pid)
        os.kill(server.triton_pid(), signal.SIGKILL)
        assert server.process.wait(20) == 1
        said = server.log.read_text()
        assert "error: tritonserver ended by itself (killed by SIGKILL); its last lines:" in said
        assert "Traceback" not in said
        assert all(gone(pid) for pid in below)


def test_killing_the_server_outright_leaves_no_triton(tmp_path: Path) -> None:
    publish_tiny(tmp_path / "repo")
    with model_server(tmp_path / "repo", tmp_path / "log") as server:
        server.wait("tiny", ready=True)
        below = family(server.process.pid)
        server.process.kill()
        assert all(gone(pid) for pid in below)


@pytest.mark.parametrize("killed", ["server", "tritonserver"])
def test_a_stub_that_hangs_is_not_left_behind(tmp_path: Path, killed: str) -> None:
    publish_tiny(tmp_path / "repo")
    with model_server(tmp_path / "repo", tmp_path / "log") as server:
        server.wait("tiny", ready=True)
        (stub,) = family(server.triton_pid())
        os.kill(stub, signal.SIGSTOP)  # as deaf as one that waits for a dead Triton's mutex
        os.kill(server.process.pid if killed == "server" else server.triton_pid(), signal.SIGKILL)
        try:
            assert gone(stub)
            assert not list(SHARED_MEMORY.glob(f"retort-{server.process.pid}-*"))
        finally:
            if not gone(stub, within_s=0.1):
                os.kill(stub, signal.SIGKILL)


@pytest.mark.parametrize("port", ["triton_http_port", "triton_grpc_port", "triton_metrics_port", "loader_port"])
def test_a_port_in_use_is_one_sentence_that_names_the_setting(tmp_path: Path, port: str) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        number = taken.getsockname()[1]
        with model_server(tmp_path, tmp_path / "log", **{port: str(number)}) as server:
            assert server.process.wait(20) == 1
            said = server.log.read_text().splitlines()
            assert said[-1].startswith(f"error: 127.0.0.1:{number} (")
            assert said[-1].endswith(f"cannot be used: Address already in use; set RETORT_{port.upper()}")
            assert "Traceback" not in server.log.read_text()


async def test_shared_memory_of_a_killed_forerunner_is_removed_and_nobody_elses(tmp_path: Path) -> None:
    http, grpc, metrics = free_ports(3)
    settings = Settings(
        model_repository=tmp_path, triton_http_port=http, triton_grpc_port=grpc, triton_metrics_port=metrics
    )
    left = SHARED_MEMORY / f"{region_prefix(settings)}left"
    others = SHARED_MEMORY / f"retort-{os.getpid()}-{grpc}9-left"
    left.touch()
    others.touch()
    try:
        async with running_triton(settings, "key"):
            assert not left.exists()
            assert others.exists()
    finally:
        left.unlink(missing_ok=True)
        others.unlink()
