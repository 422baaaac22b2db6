"""Malformed gRPC: frames, messages, protobufs and fields that nobody should send, among calls that must be served."""

import logging
import random
import socket
import struct
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from threading import Event, Thread
from typing import Any

import grpc
import pytest
from tritonclient.grpc import service_pb2, service_pb2_grpc

from gateway import grpc_errors
from tests.gateway import http2
from tests.gateway.http2 import DATA, END_HEADERS, END_STREAM, HEADERS, PREFACE, SETTINGS, Ending, frame, prefixed
from tests.gateway.leaks import assert_no_more_than, at_rest
from tests.gateway.load import CHAOS, WARM_UP
from tests.gateway.processes import gateway
from tests.model_server_process import ModelServer

log = logging.getLogger(__name__)

FUZZED = 250  # with Triton and as many without
DEADLINE_MS = 1000
SERVICE = b"/inference.GRPCInferenceService/"
INFER = SERVICE + b"ModelInfer"
METHODS = ["ServerLive", "ServerReady", "ModelReady", "ServerMetadata", "ModelMetadata", "ModelConfig"]
METHODS += ["ModelStatistics", "RepositoryIndex", "ModelInfer", "ModelStreamInfer"]
OTHERS = [
    b"/grpc.health.v1.Health/Check",
    b"/grpc.health.v1.Health/Watch",
    b"/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
]
PATHS = [SERVICE + method.encode() for method in METHODS]
# Of no status of the gateway's table HTTP's counterpart is a 5xx but 503 and 504, save INTERNAL's.
ALLOWED = {grpc.StatusCode.OK, grpc.StatusCode.UNIMPLEMENTED, *grpc_errors.STATUS.values()} - {grpc.StatusCode.INTERNAL}
ALLOWED_NUMBERS = {code.value[0] for code in ALLOWED}
INTERNAL = grpc.StatusCode.INTERNAL.value[0]

SHAPES: list[list[int]] = [[1, 1], [1], [], [-1, 1], [0, 1], [2**62, 2], [2**31, 2**31], [1, 2], [3, 1], [1, 33]]
SHAPES += [[17, 4], [16, 32], [-(2**63), 1], [1, 1, 1], [2**63 - 1, 2**63 - 1], [1, 4], [4, 1]]
NAMES = ["text", "input_ids", "attention_mask", "token_type_ids", "logits", "label", "score", "", "a" * 5000, "\0", "ü"]
DATATYPES = ["BYTES", "INT64", "INT32", "FP32", "BOOL", "UINT8", "BF16", "", "bytes", "X" * 2000]
MODELS = ["", "nope", "../../etc/passwd", "a" * 10_000, "tiny\n", "TINY", "\0"]
VERSIONS = ["1", "0", "-1", "2", "9" * 30, "x", "\uff11", "1.0"]
PARAMETERS = ["priority", "timeout", "classification", "sequence_id", "shared_memory_region", "binary_data_output", ""]
NUMBERS = [0, 1, -1, 2, 1000, 2**31, 2**63 - 1, -(2**63)]
METADATA = [
    *[(b"x-deadline-ms", value) for value in (b"", b"0", b"-1", b"1e3", b"999999999999", b"\xff", b"1")],
    *[(b"grpc-timeout", value) for value in (b"", b"0n", b"1n", b"zz", b"-1S", b"99999999H", b"999999999999S")],
    *[(b"x-route-version", value) for value in (b"0", b"1", b"2", b"x", b"999999999")],
    *[(b"x-route-key", value) for value in (b"", b"a" * 300, b"\xff\xfe")],
    *[(b"content-type", value) for value in (b"", b"text/html", b"application/grpc+json")],
    *[(b"grpc-encoding", value) for value in (b"gzip", b"zstd", b"\xff")],
    (b"x-cache-control", b"often"),
    (b"x-request-id", b"a" * 4000),
    (b"x-request-id", b"\xff\0"),
    (b"authorization", b"Bearer \xff"),
    (b"authorization", b"Basic " + b"a" * 3000),
    (b"traceparent", b"00-" + b"0" * 500),
    (b"x-bin", b"!!!"),
    (b"X-Upper", b"a"),
    (b"", b"a"),
    (b":path", b"/again"),
    (b"te", b"nothing"),
    (b"x-long", b"a" * 20_000),
]


def good_text(text: bytes = b"a good film") -> Any:
    """A call with one text."""
    message = service_pb2.ModelInferRequest(model_name="tiny")
    tensor = message.inputs.add(name="text", datatype="BYTES", shape=[1, 1])
    tensor.contents.bytes_contents.append(text)
    return message


def good_tensors(chance: random.Random) -> Any:
    """A call with the model's own tensors."""
    message = service_pb2.ModelInferRequest(model_name="tiny")
    for name in ("input_ids", "attention_mask"):
        message.inputs.add(name=name, datatype="INT64", shape=[1, 4])
        values = [chance.choice([0, 1, 1, 1, 2, 20, 21, -1, 2**40]) for _ in range(4)]
        message.raw_input_contents.append(struct.pack("<4q", *values))
    return message


def set_parameter(chance: random.Random, parameters: Any) -> None:
    """Add a parameter of some name and type."""
    parameter = parameters[chance.choice(PARAMETERS)]
    kind = chance.randrange(6)
    if kind == 0:
        parameter.bool_param = chance.random() < 0.5
    elif kind == 1:
        parameter.string_param = chance.choice(["", "1", "a" * 3000])
    elif kind == 2:
        parameter.double_param = chance.choice([0.0, -1.0, 1e308, float("nan"), float("inf")])
    elif kind == 3:
        parameter.uint64_param = chance.choice([0, 1, 2**64 - 1])
    elif kind == 4:
        parameter.int64_param = chance.choice(NUMBERS)


def set_contents(chance: random.Random, message: Any) -> None:
    """Give an input contents of some type and number, or the call raw contents that do not fit."""
    if chance.random() < 0.5 or not message.inputs:
        lengths = [chance.choice([0, 1, 3, 4, 7, 8, 16, 32, 5000]) for _ in range(chance.randint(0, 3))]
        message.raw_input_contents[:] = [chance.randbytes(length) for length in lengths]
        return
    contents = chance.choice(list(message.inputs)).contents
    count = chance.choice([0, 1, 2, 4, 600])
    kind = chance.randrange(6)
    if kind == 0:
        contents.bytes_contents.extend(
            [chance.choice([b"", b"a", b"\xff\xfe", b" ", b"a" * 3000]) for _ in range(count)]
        )
    elif kind == 1:
        contents.int64_contents.extend([chance.choice(NUMBERS) for _ in range(count)])
    elif kind == 2:
        contents.int_contents.extend([1] * count)
    elif kind == 3:
        contents.fp32_contents.extend([float("nan")] * count)
    elif kind == 4:
        contents.bool_contents.extend([True] * count)
    else:
        contents.Clear()


def hostile(chance: random.Random) -> bytes:
    """A ModelInferRequest with one to four fields changed for the worse."""
    message = good_text() if chance.random() < 0.5 else good_tensors(chance)
    for _ in range(chance.randint(1, 4)):
        tensor = chance.choice(list(message.inputs)) if message.inputs else message.inputs.add()
        changes: list[Callable[[], Any]] = [
            lambda tensor=tensor: tensor.shape.__setitem__(slice(None), chance.choice(SHAPES)),  # type: ignore[misc]
            lambda tensor=tensor: setattr(tensor, "name", chance.choice(NAMES)),  # type: ignore[misc]
            lambda tensor=tensor: setattr(tensor, "datatype", chance.choice(DATATYPES)),  # type: ignore[misc]
            lambda tensor=tensor: set_parameter(chance, tensor.parameters),  # type: ignore[misc]
            lambda: set_contents(chance, message),
            lambda: set_parameter(chance, message.parameters),
            lambda: set_parameter(chance, message.outputs.add(name=chance.choice(NAMES)).parameters),
            lambda: setattr(message, "model_name", chance.choice(MODELS)),
            lambda: setattr(message, "model_version", chance.choice(VERSIONS)),
            lambda: setattr(message, "id", chance.choice(["a" * 40_000, "\0", "ü" * 99])),
            lambda: message.inputs.add(name=chance.choice(NAMES), datatype=chance.choice(DATATYPES), shape=[1, 1]),
            lambda: message.ClearField("inputs"),
        ]
        chance.choice(changes)()
    return bytes(message.SerializeToString())


def spoilt(chance: random.Random, sent: bytes) -> bytes:
    """The bytes with a few changed, cut or doubled."""
    changed = bytearray(sent)
    for _ in range(chance.randint(1, 8)):
        at = chance.randrange(len(changed) or 1)
        kind = chance.randrange(3)
        changed[at : at + (kind != 1)] = bytes([chance.randrange(256)]) if kind < 2 else b""
    return bytes(changed)


def malformed_fields(chance: random.Random) -> tuple[bytes, bool]:
    """A message that can be read and should not have been sent."""
    return http2.call(INFER, prefixed(hostile(chance))), False


def malformed_classes(chance: random.Random) -> tuple[bytes, bool]:
    """Good tensors, and an odd number of classes instead of logits."""
    message = service_pb2.ModelInferRequest(model_name="tiny")
    for name in ("input_ids", "attention_mask"):
        message.inputs.add(name=name, datatype="INT64", shape=[1, 2]).contents.int64_contents.extend([1, 1])
    parameter = message.outputs.add(name="logits").parameters["classification"]
    if chance.random() < 0.5:
        parameter.uint64_param = chance.choice([2**32, 2**63, 2**64 - 1])
    else:
        parameter.int64_param = chance.choice(NUMBERS)
    return http2.call(INFER, prefixed(message.SerializeToString())), False


def malformed_protobuf(chance: random.Random) -> tuple[bytes, bool]:
    """A message that cannot be read, or means something else, to any method."""
    message = spoilt(chance, hostile(chance)) if chance.random() < 0.7 else chance.randbytes(chance.randrange(200))
    timeout = [(b"grpc-timeout", b"300m")]  # to a health watch the message may be a good one
    return http2.call(chance.choice([INFER, *PATHS, *OTHERS]), prefixed(message), timeout), False


def malformed_prefix(chance: random.Random) -> tuple[bytes, bool]:
    """Messages behind a wrong flag or length; none, two, half of one; some never end."""
    message = good_text().SerializeToString()
    bodies = [
        b"",
        prefixed(message, flag=chance.randrange(1, 256)),
        prefixed(message, length=chance.choice([0, 1, len(message) - 1, len(message) + 1, 2**20, 2**31, 2**32 - 1])),
        prefixed(message)[: chance.randrange(5 + len(message))],
        prefixed(message) * chance.randint(2, 5),
        prefixed(message) + b"\0",
        chance.randbytes(chance.randrange(40)),
    ]
    extra = [(b"x-deadline-ms", str(chance.choice([20, 100])).encode())]
    path = chance.choice([INFER, *PATHS])
    return http2.call(path, chance.choice(bodies), extra, ends=chance.random() < 0.9), False


def malformed_metadata(chance: random.Random) -> tuple[bytes, bool]:
    """A good message with odd metadata, or to nobody."""
    extra = chance.sample(METADATA, chance.randint(1, 2))
    path = chance.choice(
        [INFER, INFER, *PATHS, SERVICE + b"Nope", SERVICE, b"", b"nope", b"/a/b/c", b"/" + b"a" * 3000]
    )
    return http2.call(path, prefixed(good_text().SerializeToString()), extra), False


def malformed_frames(chance: random.Random) -> tuple[bytes, bool]:
    """Frames that HTTP/2 does not allow, or any bytes at all."""
    whole = http2.call(INFER, prefixed(good_text().SerializeToString()))
    if chance.random() < 0.5:
        return spoilt(chance, whole), True
    head = frame(HEADERS, END_HEADERS, 1, http2.hpack(http2.call_fields(INFER)))
    opening = PREFACE + frame(SETTINGS, 0, 0)
    return opening + chance.choice(
        [
            head + head,
            head + frame(DATA, END_STREAM, 3, b"\0\0\0\0\0"),
            frame(DATA, END_STREAM, 1, b"\0\0\0\0\0"),
            frame(HEADERS, END_HEADERS, 2, http2.hpack(http2.call_fields(INFER))),
            frame(HEADERS, END_HEADERS | END_STREAM, 1, http2.hpack([(b"a", b"b")])),
            frame(HEADERS, END_HEADERS, 1, chance.randbytes(40)),
            frame(HEADERS, 0, 1, http2.hpack(http2.call_fields(INFER))) + frame(DATA, 0, 1, b"a"),
            frame(chance.randrange(10, 256), chance.randrange(256), 1, chance.randbytes(20)) + head,
            frame(http2.WINDOW_UPDATE, 0, 0, b"\0\0\0\0") + head,
            frame(http2.PING, 0, 0, b"abc") + head,
            frame(SETTINGS, 0, 1, b"abc") + head,
            head + frame(http2.RST_STREAM, 0, 1, b"\0\0\0\x08"),
            head + frame(http2.GOAWAY, 0, 0, b"\0" * 8),
            struct.pack(">I", 2**24 - 1)[1:] + struct.pack(">BBI", DATA, 0, 1),
            chance.randbytes(100),
        ]
    ), True


KINDS = (
    *(malformed_fields, malformed_fields, malformed_classes, malformed_protobuf),
    *(malformed_prefix, malformed_metadata, malformed_frames),
)
# Here gRPC itself may refuse before the gateway is asked, and its word for what breaks its rules is INTERNAL.
BELOW_US = {malformed_prefix, malformed_metadata, malformed_frames}


def fuzz(port: int, seed: int) -> tuple[str, Ending]:
    """Send one malformed call; return its kind and its end."""
    chance = random.Random(seed)
    kind = chance.choice(KINDS)
    sent, hang_up = kind(chance)
    ending = http2.ask(port, sent, DEADLINE_MS / 1e3 + 3, hang_up=hang_up)
    assert ending.how != "hangs", (seed, kind.__name__, sent)
    if ending.status is not None and ending.status not in ALLOWED_NUMBERS:
        assert ending.status == INTERNAL, (seed, ending)
        assert kind in BELOW_US, (seed, ending, sent)
        assert not ending.ours, (seed, ending, sent)
    return kind.__name__, ending


@contextmanager
def good_calls(port: int, *, infer: bool) -> Iterator[Counter[str]]:
    """Well-formed calls one after the other while the block runs; counts how they ended."""
    codes, done = Counter[str](), Event()

    def call_on() -> None:
        with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
            stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
            while not done.wait(0.02):
                try:
                    if infer:
                        answer = stub.ModelInfer(good_text(), timeout=DEADLINE_MS / 1e3)
                        codes["OK" if b"positive" in answer.raw_output_contents[0] else "wrong"] += 1
                    else:
                        codes[
                            "OK" if stub.ServerLive(service_pb2.ServerLiveRequest(), timeout=1).live else "wrong"
                        ] += 1
                except grpc.RpcError as error:
                    codes[error.code().name] += 1

    thread = Thread(target=call_on)
    thread.start()
    try:
        yield codes
    finally:
        done.set()
        thread.join(10)


@pytest.mark.parametrize("live", [True, False], ids=["live", "dead"])
@pytest.mark.timeout(60 * CHAOS)
def test_malformed_messages(published: Path, live_triton: ModelServer, tmp_path: Path, live: bool) -> None:
    with socket.create_server(("127.0.0.1", 0)) as unused:
        dead = unused.getsockname()[1]
    settings = {"gateway_deadline_ms": DEADLINE_MS, "gateway_head_timeout_s": DEADLINE_MS / 1e3}
    with (
        gateway(published, tmp_path, live_triton.grpc if live else dead, **settings) as served,
        ThreadPoolExecutor(4) as pool,
        good_calls(served.grpc_port, infer=live) as good,
    ):
        first, last = FUZZED * WARM_UP, FUZZED * (WARM_UP + CHAOS)
        warmed = list(pool.map(lambda seed: fuzz(served.grpc_port, seed), range(first)))
        before = at_rest(served)
        ended = list(pool.map(lambda seed: fuzz(served.grpc_port, seed), range(first, last)))
        endings = Counter(ending.how if ending.status is None else ending.status for _, ending in ended + warmed)
        log.info("gRPC, Triton %s: %s; good calls: %s", "live" if live else "dead", dict(endings), dict(good))
        assert_no_more_than(before, served, "malformed gRPC messages")
    assert set(good) == {"OK"}
    assert {grpc.StatusCode.INVALID_ARGUMENT.value[0], grpc.StatusCode.UNIMPLEMENTED.value[0]} < set(endings)
    assert (0 if live else grpc.StatusCode.UNAVAILABLE.value[0]) in endings
    assert {kind for kind, ending in ended if ending.status is not None} == {kind.__name__ for kind in KINDS}
