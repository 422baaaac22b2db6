"""`retort bench` with every real part: it measures, it writes, it refuses, it leaves nothing behind."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from retort_cli.bench.stack import descendants
from tests.processes import alive
from tests.tiny_model import publish_tiny

BENCH = [sys.executable, "-m", "retort_cli", "bench", "--quick"]
COMPARED = {"gateway /predict", "Triton gRPC, tokens", "no-op FastAPI route"}


def bench(tmp_path: Path, *options: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    command = [*BENCH, "--repository", str(tmp_path / "repo"), "--output", str(tmp_path / "out"), *options]
    env = {**os.environ, **environment}
    return subprocess.run(command, env=env, cwd=tmp_path, capture_output=True, text=True, timeout=150, check=False)


def written(tmp_path: Path) -> dict[str, Any]:
    (path,) = (tmp_path / "out").glob("*.json")
    return dict(json.loads(path.read_text()))


def programs_without(folder: Path, *names: str) -> Path:
    """Fill `folder` with links to every program on PATH but `names`."""
    folder.mkdir()
    for place in os.environ["PATH"].split(os.pathsep):
        for program in Path(place).glob("*"):
            if program.name not in names and not (folder / program.name).is_symlink():
                (folder / program.name).symlink_to(program)
    return folder


def check(rows: list[dict[str, Any]]) -> None:
    for row in rows:
        assert row["rps"] > 0, row
        assert row["errors"] == 0, row
        assert row["p50_ms"] <= row["p99_ms"], row


def test_the_gateway_is_compared_and_soaked(tmp_path: Path) -> None:
    publish_tiny(tmp_path / "repo")
    done = bench(tmp_path, "--connections", "1", "--soak", "100", "--only", "compare", "doors")
    assert done.returncode == 0, done.stderr
    found = written(tmp_path)
    assert {row["name"] for row in found["compare"]["rows"]} == COMPARED
    check(found["compare"]["rows"])
    assert found["compare"]["ceiling_rps"] > 0
    assert found["soak"]["requests"] >= 100
    assert found["soak"]["samples"][0]["resident_mb"] > 20
    if shutil.which("h2load"):
        check(found["doors"]["rows"])
        assert found["doors"]["grpc_of_http"]["1"] > 0
    else:
        assert "nghttp2-client" in found["skipped"]["doors"]
    (table,) = (tmp_path / "out").glob("*.md")
    assert table.read_text() in done.stdout


def test_without_wrk_and_h2load_it_says_what_it_did_instead(tmp_path: Path) -> None:
    publish_tiny(tmp_path / "repo")
    programs = programs_without(tmp_path / "programs", "wrk", "h2load")
    done = bench(
        tmp_path, "--connections", "2", "--only", "doors", "ladder", "open_loop", "--rate", "50", PATH=str(programs)
    )
    assert done.returncode == 0, done.stderr
    found = written(tmp_path)
    rungs = found["ladder"]["rungs"]
    assert len(rungs) == 3
    assert {rung["row"]["driver"] for rung in rungs} == {"asyncio sockets"}
    assert rungs[-1]["row"]["rps"] / rungs[0]["row"]["rps"] == pytest.approx(found["ladder"]["product"])
    check([rung["row"] for rung in rungs] + [found["open_loop"]["row"]])
    assert found["open_loop"]["row"]["rps"] == pytest.approx(50, rel=0.1)
    assert found["open_loop"]["row"]["p50_ms"] < 1000
    assert any("wrk is not installed" in warning for warning in found["warnings"])
    assert "nghttp2-client" in found["skipped"]["doors"]
    assert found["compare"] is None


def test_a_repository_without_a_model_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "repo").mkdir()
    done = bench(tmp_path)
    assert done.returncode == 1
    assert done.stderr.startswith("retort: ")
    assert done.stderr.count("\n") == 1
    assert "holds no model that can be served" in done.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("options", [["--seconds", "0"], ["--rounds", "x"], ["--rate", "-1"], ["--only", "soak"]])
def test_a_wrong_option_is_refused(tmp_path: Path, options: list[str]) -> None:
    assert bench(tmp_path, *options).returncode == 2


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_benchmark_leaves_nothing_running(tmp_path: Path, how: signal.Signals) -> None:
    publish_tiny(tmp_path / "repo")
    command = [*BENCH, "--repository", "repo", "--output", "out", "--connections", "1", "--only", "compare"]
    with subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        while "round 1/1" not in process.stderr.readline():
            assert process.poll() is None
        started = [pid for pid in descendants(process.pid) if pid != process.pid]
        process.send_signal(how)
        _, complaint = process.communicate(timeout=40)
    assert process.returncode == 130
    assert "interrupted; nothing was written" in complaint
    assert len(started) >= 4  # model server, Triton, gateway, no-op server and what they started
    deadline = time.monotonic() + 10
    while any(alive(pid) for pid in started):
        assert time.monotonic() < deadline
        time.sleep(0.05)
