"""The doors: gRPC beside HTTP, and Triton's own behind them, all with one driver and one text."""

import json
import re
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any
from urllib.request import Request

import grpc
from tritonclient.grpc import service_pb2

from retort_cli.bench import direct, h2load
from retort_cli.bench.compare import added_p50_ms
from retort_cli.bench.errors import SkippedError
from retort_cli.bench.h2load import Door
from retort_cli.bench.load import Load, Row, summarise
from retort_cli.bench.rounds import Subject, measure
from retort_cli.bench.setup import Setup
from retort_cli.bench.texts import body
from retort_cli.door import open_door
from retort_cli.errors import CommandError

PREDICT = "HTTP door, /predict"
INFER = "HTTP door, /v2 infer"
GRPC = "gRPC door, ModelInfer"
TRITON = "Triton's gRPC, tokens"
GRPC_HEADERS = {"content-type": "application/grpc", "te": "trailers"}
JSON_HEADERS = {"content-type": "application/json"}
# 499: h2load hangs up on what is in flight when its time is over.
REFUSED = re.compile(
    r'^retort_requests_total\{[^}]*code="(?!200|499)\d+"[^}]*route="grpc_infer"[^}]*\} (\S+)', re.MULTILINE
)


@dataclass(frozen=True)
class Doors:
    """`grpc_of_http`: the gRPC door's rate as a share of /predict's, by connections."""

    rows: list[Row]
    grpc_of_http: dict[int, float]
    added_p50_ms: float | None


def run(setup: Setup) -> Doors:
    """Measure at one connection and at many. SkippedError without h2load, CommandError when the gRPC door refuses."""
    if not h2load.is_installed():
        raise SkippedError(h2load.MISSING)
    text = sorted(setup.texts, key=len)[len(setup.texts) // 2]
    message = _message(setup.model.name, text)
    doors = _doors(setup, text, message)
    address = f"127.0.0.1:{setup.gateway.grpc}"
    ask(address, message)  # h2load sees HTTP's 200 even where gRPC says no
    refused = refusals(setup.gateway.metrics)
    counts = sorted({1, setup.plan.busy})
    subjects = [Subject(door.name, partial(_load, door, setup.folder)) for door in doors]
    loads = measure(subjects, counts, setup.plan, setup.say)
    ask(address, message)
    rows = [summarise(subject.name, loads[subject.name, count]) for count in counts for subject in subjects]
    if new := refusals(setup.gateway.metrics) - refused:
        rows = [replace(row, errors=row.errors + new) if row.name == GRPC else row for row in rows]
    rates = {(row.name, row.connections): row.rps for row in rows}
    shares = {count: rates[GRPC, count] / rates[PREDICT, count] for count in counts}
    return Doors(rows, shares, added_p50_ms(rows, PREDICT, TRITON))


def _load(door: Door, folder: Path, connections: int, seconds: int) -> Load:
    return h2load.load(door, connections, seconds, folder)


def _doors(setup: Setup, text: str, message: bytes) -> list[Door]:
    model, gateway = setup.model, setup.gateway
    tensor = {"name": "text", "datatype": "BYTES", "shape": [1, 1], "data": [text]}
    (ids,) = model.tokenise([text])
    own = direct.request(model.name, model.manifest.version, ids)
    http, method = f"http://127.0.0.1:{gateway.http}", direct.METHOD

    def kept(name: str, content: bytes) -> Path:
        path = setup.folder / name
        path.write_bytes(content)
        return path

    return [
        Door(PREDICT, f"{http}/predict", kept("predict.json", body(text)), JSON_HEADERS, http1=True),
        Door(
            INFER,
            f"{http}/v2/models/{model.name}/infer",
            kept("infer.json", json.dumps({"inputs": [tensor]}).encode()),
            JSON_HEADERS,
            http1=True,
        ),
        Door(
            GRPC,
            f"http://127.0.0.1:{gateway.grpc}{method}",
            kept("text.grpc", h2load.grpc_frame(message)),
            GRPC_HEADERS,
            http1=False,
        ),
        Door(
            TRITON,
            f"http://127.0.0.1:{setup.triton.grpc}{method}",
            kept("tokens.grpc", h2load.grpc_frame(own)),
            GRPC_HEADERS,
            http1=False,
        ),
    ]


def _message(model: str, text: str) -> bytes:
    content = text.encode()
    message = service_pb2.ModelInferRequest(model_name=model)
    message.inputs.add(name="text", datatype="BYTES", shape=[1, 1])
    message.raw_input_contents.append(len(content).to_bytes(4, "little") + content)
    return bytes(message.SerializeToString())


def ask(address: str, message: bytes) -> list[str]:
    """Send a ModelInferRequest with a real client, return the outputs' names; CommandError when it is refused."""
    with grpc.insecure_channel(address, [("grpc.enable_http_proxy", 0)]) as channel:
        infer: grpc.UnaryUnaryMultiCallable[bytes, Any] = channel.unary_unary(
            direct.METHOD, response_deserializer=service_pb2.ModelInferResponse.FromString
        )
        try:
            answer = infer(message, timeout=direct.ANSWER_TIMEOUT_S)
        except grpc.RpcError as error:
            raise CommandError(f"the gRPC door refuses a text: {error.code().name}, {error.details()}") from error
    return [output.name for output in answer.outputs]


def refusals(metrics_port: int) -> int:
    """Return how many gRPC inference calls the gateway has answered with anything but success."""
    with open_door(Request(f"http://127.0.0.1:{metrics_port}/metrics"), 10) as response:
        return int(sum(float(count) for count in REFUSED.findall(response.read().decode())))
