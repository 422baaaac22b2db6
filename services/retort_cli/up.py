"""`retort up`: a model repository with a model in it, the model server and the gateway, until Ctrl-C."""

import argparse
import json
import os
import shlex
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn
from urllib.error import HTTPError, URLError
from urllib.request import Request

from retort_cli.door import open_door
from retort_cli.errors import CommandError
from retort_cli.part import Part, start
from retort_cli.predict import predict

DEMO_CONFIG = "training/configs/demo.toml"
DEMO_MODEL = "support-tickets"
DEMO_TEXT = "I was charged twice for my order last week"
READY_TIMEOUT_S = 60.0


@dataclass(frozen=True)
class Port:
    """A port that a part will listen on, and the variable that moves it."""

    variable: str
    default: int
    use: str

    @property
    def number(self) -> int:
        """Return the port in force. Raises CommandError when the variable holds no port."""
        text = os.environ.get(self.variable, "") or str(self.default)
        if not text.isdecimal() or not 0 < int(text) < 65536:
            raise CommandError(f"{self.variable} is {text!r}, which is not a port number")
        return int(text)


GATEWAY = Port("RETORT_HTTP_PORT", 8080, "the gateway")
GATEWAY_METRICS = Port("RETORT_METRICS_PORT", 9091, "the gateway's metrics")
GATEWAY_GRPC = Port("RETORT_GRPC_PORT", 8081, "the gateway's gRPC")
TRITON_GRPC = Port("RETORT_TRITON_GRPC_PORT", 8001, "Triton's gRPC")
LOADER = Port("RETORT_LOADER_PORT", 8003, "the loader")
PORTS = (
    GATEWAY,
    GATEWAY_GRPC,
    GATEWAY_METRICS,
    Port("RETORT_TRITON_HTTP_PORT", 8000, "Triton's HTTP"),
    TRITON_GRPC,
    Port("RETORT_TRITON_METRICS_PORT", 8002, "Triton's metrics"),
    LOADER,
)


class Stopped(BaseException):
    """SIGTERM or Ctrl-C; not an Exception, so that nothing on the way mistakes it for a failure."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    repository = os.environ.get("RETORT_MODEL_REPOSITORY") or "model-repo"
    parser.add_argument("--repository", type=Path, default=Path(repository), help="default: %(default)s")
    parser.add_argument("--demo", default=DEMO_CONFIG, metavar="CONFIG", help="trained if the repository is empty")
    parser.add_argument("--logs", type=Path, default=Path("runs/up"), help="folder of the parts' logs")


def run(arguments: argparse.Namespace) -> int:
    """Tell the whole story; returns 0 after Ctrl-C or SIGTERM, raises CommandError when a part fails."""
    signal.signal(signal.SIGTERM, _stop)
    signal.signal(signal.SIGINT, _stop)
    repository: Path = arguments.repository.resolve()
    parts: list[Part] = []
    try:
        if repository.exists() and not repository.is_dir():
            raise CommandError(f"--repository {repository} is not a folder")
        _check_ports()
        check_model_server()
        if not _models(repository):
            _train(arguments.demo, repository)
        parts.append(_start("model server", "model_server", repository, arguments.logs))
        wait_ready(parts, f"http://127.0.0.1:{LOADER.number}/readyz")
        parts.append(_start("gateway", "gateway", repository, arguments.logs))
        wait_ready(parts, f"http://127.0.0.1:{GATEWAY.number}/readyz")
        _say_how_to_use()
        _watch(parts)
    except Stopped:
        _say("stopping ...")
        return 0
    finally:
        for part in reversed(parts):  # the gateway drains before its upstream goes
            part.stop()


def _start(name: str, module: str, repository: Path, logs: Path) -> Part:
    environment = {
        "RETORT_MODEL_REPOSITORY": str(repository),
        "RETORT_TRITON_URLS": f"127.0.0.1:{TRITON_GRPC.number}",
    }
    default = os.environ.get("RETORT_DEFAULT_MODEL") or _default_model(repository)
    if default:
        environment["RETORT_DEFAULT_MODEL"] = default
    log = logs / f"{module.replace('_', '-')}.log"
    _say(f"starting the {name} (log: {log}) ...")
    return start(name, module, log, environment)


def _check_ports() -> None:
    for port in PORTS:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port.number))
            except OSError as error:
                raise CommandError(
                    f"port {port.number} ({port.use}) cannot be used: {error.strerror}; "
                    f"free it or set {port.variable} to another"
                ) from error


def check_model_server() -> None:
    """Have the model server say now, not after the training, whether it can run here."""
    check = subprocess.run(
        [sys.executable, "-m", "model_server", "--check"], capture_output=True, text=True, check=False
    )
    if check.returncode:
        raise CommandError((check.stderr.strip().splitlines() or ["the model server cannot run here"])[-1])


def _models(repository: Path) -> list[str]:
    """Return the names of the models that have a stable version."""
    return sorted(path.parent.name for path in repository.glob("*/stable.json") if not path.parent.name.startswith("."))


def _default_model(repository: Path) -> str | None:
    """Return the demo model's name when it is there beside others: `/predict` then has a model to answer for."""
    names = _models(repository)
    return DEMO_MODEL if DEMO_MODEL in names and len(names) > 1 else None


def _train(config: str, repository: Path) -> None:
    _say(f"{repository} holds no model: training the demo model ({config}), a few minutes on 2 cores ...")
    command = [sys.executable, "-m", "retort_cli", "train", config, "--repository", str(repository)]
    with subprocess.Popen(command, start_new_session=True) as process:
        try:
            code = process.wait()
        except Stopped:
            process.terminate()
            raise
    if code:
        raise CommandError(f"the demo model could not be trained (exit code {code}); its message is above")


def wait_ready(parts: Sequence[Part], url: str) -> None:
    """Wait until `url` answers 200; CommandError when a part ends, or the last one is not ready in time."""
    deadline = time.monotonic() + READY_TIMEOUT_S
    while time.monotonic() < deadline:
        _raise_if_ended(parts)
        try:
            with _ask(url):
                return
        except (URLError, OSError):
            time.sleep(0.1)
    part = parts[-1]
    detail = _readiness_detail(url)
    raise CommandError(
        f"the {part.name} is not ready after {READY_TIMEOUT_S:.0f} s{detail}; {part.log} ends:\n{part.tail()}"
    )


def _readiness_detail(url: str) -> str:
    try:
        _ask(url).close()
    except HTTPError as error:
        return f" ({error.read(2000).decode(errors='replace')})"
    except (URLError, OSError) as error:
        return f" ({error})"
    return ""


def _ask(url: str) -> Any:
    return open_door(Request(url), 2)  # noqa: S310 - http on this machine, made above


def _say_how_to_use() -> None:
    base = f"http://127.0.0.1:{GATEWAY.number}"
    with _ask(f"{base}/readyz") as response:
        models = json.load(response)["models"]
    answering = [name for name, model in models.items() if model["ready"]]
    model = next(name for name in (os.environ.get("RETORT_DEFAULT_MODEL"), DEMO_MODEL, *answering) if name in answering)
    path, body = f"/v1/models/{model}/predict", {"inputs": DEMO_TEXT}
    if len(answering) == 1 or model in (os.environ.get("RETORT_DEFAULT_MODEL"), DEMO_MODEL):
        path, body = "/predict", {"text": DEMO_TEXT}
    key = os.environ.get("RETORT_API_KEY")
    try:
        answer = predict(base, DEMO_TEXT, model, key)
        outcome = f"{answer.label} ({answer.score:.3f}, version {answer.version})"
    except CommandError as error:  # keys are on and RETORT_API_KEY holds none, or the model reads pairs
        outcome = str(error)
    header = "-H 'content-type: application/json'" + (' -H "authorization: Bearer $RETORT_API_KEY"' if key else "")
    _say(f"""
Retort is ready: {base}   models: {", ".join(answering)}

  curl -s {base}{path} {header} -d {shlex.quote(json.dumps(body))}
  {_program()} predict {shlex.quote(DEMO_TEXT)} --model {model}      -> {outcome}

gRPC: 127.0.0.1:{GATEWAY_GRPC.number}    API docs: {base}/docs    health: {base}/readyz    metrics: http://127.0.0.1:{GATEWAY_METRICS.number}/metrics
Ctrl-C ends everything.""")


def _program() -> str:
    """Return how this command was called, so that the next one can be pasted."""
    called = Path(sys.argv[0])
    return str(called) if called.name == "retort" else "retort"


def _watch(parts: Sequence[Part]) -> NoReturn:
    while True:
        _raise_if_ended(parts)
        time.sleep(0.2)


def _raise_if_ended(parts: Sequence[Part]) -> None:
    for part in parts:
        if part.returncode is not None:
            raise CommandError(
                f"the {part.name} ended by itself ({_ending(part.returncode)}); {part.log} ends:\n{part.tail()}"
            )


def _ending(code: int) -> str:
    return f"killed by {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"


def _stop(_signal: int, _frame: FrameType | None) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # a second Ctrl-C must not interrupt the ending
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    raise Stopped


def _say(text: str) -> None:
    print(text, flush=True)
