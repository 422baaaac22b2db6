"""The command line: every command describes itself, and mistakes are one sentence."""

import subprocess
import sys

import pytest

from retort_cli.__main__ import COMMANDS, main


def retort(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "retort_cli", *arguments], capture_output=True, text=True, timeout=60, check=False
    )


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


def test_asking_a_gateway_imports_no_torch() -> None:
    code = "import sys, retort_cli.predict, retort_cli.__main__; print({'torch', 'transformers'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "set()"


def test_a_training_config_that_is_not_there_is_named() -> None:
    done = retort("train", "no-such.toml")
    assert done.returncode == 1
    assert "no-such.toml" in done.stderr
    assert "Traceback" not in done.stderr
