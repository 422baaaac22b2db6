"""Nothing that training imports may report about the user."""

import os
import subprocess
import sys
from pathlib import Path


def test_importing_training_leaves_nothing_in_the_home_folder(tmp_path: Path) -> None:
    code = "import training.evaluate, onnxruntime; onnxruntime.SessionOptions()"
    environment = {name: value for name, value in os.environ.items() if name != "ORT_DISABLE_TELEMETRY"}
    places = {"HOME": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path / "cache")}
    subprocess.run([sys.executable, "-c", code], env=environment | places, check=True, timeout=120)
    assert not list(tmp_path.rglob("*nnxruntime*"))
