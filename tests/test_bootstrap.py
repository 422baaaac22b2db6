"""The bootstrap: an unsupported machine is told so in one sentence; what is installed is not installed again."""

import json
import platform
import shutil
import subprocess
import sys
import venv
from pathlib import Path
from types import SimpleNamespace

import pytest

import bootstrap

ROOT = Path(bootstrap.__file__).parent


def test_an_unsupported_python_is_refused_by_version(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "version_info", (3, 10, 4))
    with pytest.raises(SystemExit) as ended:
        bootstrap.check_machine()
    assert "needs CPython 3.11, 3.12 or 3.13" in str(ended.value)


def test_another_processor_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "machine", lambda: "aarch64")
    with pytest.raises(SystemExit) as ended:
        bootstrap.check_machine()
    assert "aarch64" in str(ended.value)


def test_a_full_disk_is_refused_before_anything_is_written(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(bootstrap, "STAMP", str(tmp_path / "absent"))
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: SimpleNamespace(free=10**8))
    with pytest.raises(SystemExit) as ended:
        bootstrap.check_disk()
    assert "0.1 GB free" in str(ended.value)


def test_a_failed_installation_shows_the_end_of_its_log(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(bootstrap, "PYTHON", sys.executable)
    monkeypatch.setattr(bootstrap, "LOG", str(tmp_path / "install.log"))
    with pytest.raises(SystemExit) as ended:
        bootstrap.install("a thing", ["--no-index", "no-such-package-anywhere"])
    assert "could not install a thing: pip failed" in str(ended.value)
    assert "no-such-package-anywhere" in str(ended.value)


def test_what_is_installed_is_not_installed_again(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    installed: list[str] = []
    monkeypatch.setattr(bootstrap, "STAMP", str(tmp_path / "installed.json"))
    monkeypatch.setattr(bootstrap, "PYTHON", sys.executable)
    monkeypatch.setattr(bootstrap, "install", lambda title, _arguments: installed.append(title))
    monkeypatch.setattr(sys, "argv", ["bootstrap.py", "test"])
    bootstrap.main()
    first = len(installed)
    assert first == 5
    bootstrap.main()
    monkeypatch.setattr(sys, "argv", ["bootstrap.py", "up"])
    bootstrap.main()  # a part of what `test` installed
    assert len(installed) == first
    stamp = json.loads((tmp_path / "installed.json").read_text())
    stamp["fingerprint"] = "of an older constraints.txt"
    (tmp_path / "installed.json").write_text(json.dumps(stamp))
    bootstrap.main()
    assert len(installed) > first


def test_a_half_made_environment_is_not_used(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    venv.create(tmp_path / "whole", with_pip=True)
    venv.create(tmp_path / "half", with_pip=False)
    for name, usable in (("whole", True), ("half", False), ("absent", False)):
        monkeypatch.setattr(bootstrap, "PYTHON", str(tmp_path / name / "bin" / "python"))
        assert bootstrap.usable_venv() is usable, name
    monkeypatch.setattr(bootstrap, "PYTHON", str(tmp_path / "whole" / "bin" / "python"))
    monkeypatch.setattr(sys, "version", "another Python")
    assert not bootstrap.usable_venv()


def test_every_pin_is_a_public_version() -> None:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    assert len(lines) > 100
    assert not [line for line in lines if "+" in line.split(";")[0]], "a local version tag installs nowhere else"
    assert not [line for line in lines if "==" not in line and not line.startswith("#")]


def test_make_runs_the_bootstrap_with_the_python_that_it_is_given(tmp_path: Path) -> None:
    fake = tmp_path / "python"
    fake.write_text('#!/bin/sh\necho "asked for $2" >&2\nexit 1\n')
    fake.chmod(0o755)
    done = subprocess.run(
        ["make", "-C", str(ROOT), "up", f"PYTHON={fake}"], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 2
    assert "asked for up" in done.stderr
