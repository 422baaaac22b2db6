"""The slow proofs on the demo set, run by `make proof` alone: ten kills, and two processes."""

import json
import os
import random
import signal
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from training import journal

ROOT = Path(__file__).parents[2]
KILLS = int(os.environ.get("PROOF", "0"))
ENVIRONMENT = os.environ | {"PYTHONPATH": f"{ROOT}:{ROOT / 'services'}"}
TIMEOUT_S = 3600

pytestmark = [pytest.mark.skipif(not KILLS, reason="slow: `make proof`"), pytest.mark.timeout(TIMEOUT_S)]


def command(folder: Path, *launcher: str) -> list[str]:
    """Train the demo with its records and its repository in `folder`."""
    config = folder / "demo.toml"
    folder.mkdir(parents=True, exist_ok=True)
    shipped = (ROOT / "training" / "configs" / "demo.toml").read_text()
    config.write_text(f'runs = "{folder / "runs"}"\ncheckpoint_s = 10\n{shipped}')
    return [sys.executable, *launcher, "-m", "retort_cli", "train", str(config), "--repository", str(folder / "repo")]


def train(folder: Path, *launcher: str) -> None:
    """Train to the end."""
    subprocess.run(command(folder, *launcher), cwd=ROOT, env=ENVIRONMENT, check=True, timeout=TIMEOUT_S)


def log(folder: Path) -> Path:
    """Where the journal is."""
    return folder / "runs" / "support-tickets" / "log.jsonl"


def curves(folder: Path) -> dict[str, dict[int, float]]:
    """Loss by step, for both stages."""
    entries = journal.read(log(folder))
    return {stage: journal.curve(entries, stage, "step", "loss") for stage in ("teacher", "student")}


def quality(folder: Path) -> dict[str, Any]:
    """What the manifest says."""
    found: dict[str, Any] = json.loads((folder / "repo" / "support-tickets" / "1" / "manifest.json").read_text())
    return found["quality"]  # type: ignore[no-any-return]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo, trained undisturbed."""
    folder = tmp_path_factory.mktemp("whole")
    train(folder)
    return folder


def test_killed_at_random_moments_it_ends_with_the_same_curve_and_metrics(whole: Path, tmp_path: Path) -> None:
    source = random.Random(23)
    steps = sum(map(len, curves(whole).values()))
    for target in sorted(source.sample(range(5, steps), KILLS)):
        process = subprocess.Popen(command(tmp_path), cwd=ROOT, env=ENVIRONMENT)
        deadline = time.monotonic() + TIMEOUT_S
        while not log(tmp_path).exists() or sum(map(len, curves(tmp_path).values())) < target:
            assert process.poll() is None, "it ended by itself"
            assert time.monotonic() < deadline
            time.sleep(0.05)
        time.sleep(source.uniform(0.0, 0.5))
        process.send_signal(signal.SIGKILL)
        process.wait()
    train(tmp_path)
    assert curves(tmp_path) == curves(whole)
    assert quality(tmp_path) == quality(whole)


def test_two_processes_follow_the_curve_of_one(whole: Path, tmp_path: Path) -> None:
    """Not to the last digit: each process draws its own dropout. Without dropout, test_loop.py compares every step."""
    train(tmp_path, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")
    for stage, one in curves(whole).items():
        two = curves(tmp_path)[stage]
        assert list(one) == list(two)
        for start in range(0, len(one) - 50, 50):
            means = [statistics.fmean(list(curve.values())[start : start + 50]) for curve in (one, two)]
            assert means[1] == pytest.approx(means[0], rel=0.15, abs=0.02), (stage, start)
    assert quality(tmp_path)["student_fp32"] == pytest.approx(quality(whole)["student_fp32"], abs=0.01)
