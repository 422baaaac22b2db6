"""`retort up` with every real part: it answers, it names what broke, it leaves nothing behind."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.request import urlopen

import pytest

from retort_cli.up import PORTS
from tests.ports import free_ports
from tests.processes import alive
from tests.tiny_model import publish_tiny

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Up:
    """A running `retort up`: what it printed until it was ready, and its processes."""

    process: subprocess.Popen[str]
    printed: str
    environment: dict[str, str]

    def descendants(self) -> dict[int, str]:
        """Return every process below it: pid -> command line."""
        return dict(_descendants(self.process.pid))

    def pid_of(self, word: str) -> int:
        return next(pid for pid, command in self.descendants().items() if word in command)

    def end(self) -> tuple[int, str]:
        out, err = self.process.communicate(timeout=40)
        return self.process.returncode, out + err


@contextmanager
def up(tmp_path: Path, *options: str, **environment: str) -> Iterator[Up]:
    ports = dict(zip((port.variable for port in PORTS), map(str, free_ports(len(PORTS))), strict=True))
    full = {**os.environ, **ports, **environment}
    command = [sys.executable, "-m", "retort_cli", "up", "--repository", str(tmp_path / "repo")]
    command += ["--logs", str(tmp_path / "logs"), *options]
    process = subprocess.Popen(
        command, env=full, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    printed = ""
    assert process.stdout is not None
    while "Ctrl-C ends" not in printed and (line := process.stdout.readline()):
        printed += line
    running = Up(process, printed, full)
    try:
        yield running
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        process.communicate(timeout=40)


def test_it_answers_and_sigterm_ends_every_process(tmp_path: Path) -> None:
    publish_tiny(tmp_path / "repo")
    started = time.monotonic()
    with up(tmp_path) as running:
        assert time.monotonic() - started < 20, running.printed
        curl = re.search(r"^  (curl .*)$", running.printed, re.MULTILINE)
        assert curl, running.printed
        answer = json.loads(subprocess.check_output(curl[1], shell=True, text=True))  # as pasted
        assert answer["prediction"] in {"negative", "positive"}
        docs = re.search(r"API docs: (\S+)", running.printed)
        assert docs
        with urlopen(docs[1], timeout=5) as response:
            assert response.status == 200
        predicted = subprocess.run(
            [sys.executable, "-m", "retort_cli", "predict", "a lovely film"],
            env=running.environment,
            capture_output=True,
            text=True,
            timeout=30,
            check=True,
        )
        assert predicted.stdout.split("\t")[0] == "positive"
        processes = running.descendants()
        assert any("tritonserver" in command for command in processes.values())
        running.process.send_signal(signal.SIGTERM)
        code, _ = running.end()
        assert code == 0
        _wait_until_gone(processes)


def test_one_damaged_model_does_not_end_the_others(tmp_path: Path) -> None:
    (publish_tiny(tmp_path / "repo", "a-damaged").path / "model.onnx").write_bytes(b"damaged")
    publish_tiny(tmp_path / "repo")
    with up(tmp_path, http_proxy="http://127.0.0.1:9", https_proxy="http://127.0.0.1:9") as running:
        assert "models: tiny" in running.printed
        curl = re.search(r"^  (curl .*)$", running.printed, re.MULTILINE)
        assert curl
        answer = json.loads(subprocess.check_output(curl[1], shell=True, text=True))
        assert answer["model"] == "tiny"  # the default, because no other can answer
        assert answer["prediction"] in {"negative", "positive"}


@pytest.mark.parametrize(
    ("victim", "name"),
    [("tritonserver", "model server"), ("-m model_server", "model server"), ("-m gateway", "gateway")],
)
def test_a_part_that_dies_is_named_with_its_log_and_the_rest_ends(tmp_path: Path, victim: str, name: str) -> None:
    publish_tiny(tmp_path / "repo")
    with up(tmp_path) as running:
        processes = running.descendants()
        os.kill(running.pid_of(victim), signal.SIGKILL)
        code, output = running.end()
        assert code == 1
        assert f"the {name} ended by itself" in output
        assert "ends:\n  " in output
        assert "Traceback" not in output
        _wait_until_gone(processes)


def test_killing_it_outright_leaves_no_process(tmp_path: Path) -> None:
    publish_tiny(tmp_path / "repo")
    with up(tmp_path) as running:
        processes = running.descendants()
        running.process.kill()
        _wait_until_gone(processes)


def test_a_port_in_use_is_one_sentence(tmp_path: Path) -> None:
    publish_tiny(tmp_path / "repo")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with up(tmp_path, RETORT_HTTP_PORT=str(port)) as running:
            code, output = running.end()
    assert code == 1
    assert f"port {port} (the gateway) cannot be used: Address already in use" in output
    assert "Traceback" not in output


def test_a_misspelt_setting_is_named(tmp_path: Path) -> None:
    publish_tiny(tmp_path / "repo")
    with up(tmp_path, RETORT_TRITON_GPRC_PORT="1") as running:
        code, output = running.end()
    assert code == 1
    assert "RETORT_TRITON_GPRC_PORT" in running.printed + output
    assert "Traceback" not in output


def test_a_training_that_fails_is_said(tmp_path: Path) -> None:
    with up(tmp_path, "--demo", "no-such.toml") as running:
        code, output = running.end()
    assert code == 1
    assert "no-such.toml" in output
    assert "could not be trained" in output
    assert "Traceback" not in output


def _descendants(pid: int) -> Iterator[tuple[int, str]]:
    for task in Path(f"/proc/{pid}/task").iterdir():
        for child in map(int, (task / "children").read_text().split()):
            yield child, Path(f"/proc/{child}/cmdline").read_bytes().replace(b"\0", b" ").decode()
            yield from _descendants(child)


def _wait_until_gone(processes: dict[int, str]) -> None:
    deadline = time.monotonic() + 10
    while left := [command for pid, command in processes.items() if alive(pid)]:
        assert time.monotonic() < deadline, left
        time.sleep(0.05)
