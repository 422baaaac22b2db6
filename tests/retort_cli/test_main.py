"""The command line: every command describes itself, and mistakes are one sentence."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from retort_cli.__main__ import COMMANDS, main
from retort_cli.up import PORTS
from tests.ports import free_ports
from tests.tiny_model import publish_tiny


def retort(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "retort_cli", *arguments]
    env = {**os.environ, **environment}
    return subprocess.run(command, env=env, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_describes_itself(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main([command, "--help"])
    assert ended.value.code == 0
    assert f"usage: retort {command}" in capsys.readouterr().out


def test_an_unknown_command_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["tarin"])
    assert ended.value.code == 2
    assert "tarin" in capsys.readouterr().err


def test_a_failed_command_is_one_sentence() -> None:
    done = retort("predict", "hello", "--url", "http://127.0.0.1:1")
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith("retort: no gateway answers at http://127.0.0.1:1")


def test_a_folder_that_cannot_be_written_is_one_sentence(tmp_path: Path) -> None:
    publish_tiny(tmp_path / "repo")
    ports = dict(zip((port.variable for port in PORTS), map(str, free_ports(len(PORTS))), strict=True))
    done = retort("up", "--repository", str(tmp_path / "repo"), "--logs", "/proc/x", **ports)
    assert done.returncode == 1
    assert done.stderr.startswith("retort: [Errno 2]")
    (tmp_path / "file").touch()
    assert "is not a folder" in retort("up", "--repository", str(tmp_path / "file")).stderr


def test_asking_a_gateway_imports_no_torch() -> None:
    code = "import sys, retort_cli.predict, retort_cli.__main__; print({'torch', 'transformers'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "set()"


def test_a_training_config_that_is_not_there_is_named() -> None:
    done = retort("train", "no-such.toml")
    assert done.returncode == 1
    assert "no-such.toml" in done.stderr
    assert "Traceback" not in done.stderr
