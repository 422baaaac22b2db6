"""`python -m retort_cli.bench.direct`: a grpc.aio driver that asks Triton itself, one tokenised text a call.

A job on stdin, a Load on stdout. Requests are made before the clock starts and answers are not parsed, so that little
but gRPC is counted as the driver's.
"""

import asyncio
import json
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import cycle
from pathlib import Path

import grpc
import grpc.aio
import numpy as np
import uvloop
from tritonclient.grpc import service_pb2

from retort_cli.bench.driver import run_load
from retort_cli.bench.load import Load, measured

NAME = "grpc.aio"
METHOD = "/inference.GRPCInferenceService/ModelInfer"
ANSWER_TIMEOUT_S = 10.0


@dataclass(frozen=True)
class Job:
    """`rows` are token ids, one text each."""

    port: int
    model: str
    version: int
    rows: list[list[int]]
    connections: int
    seconds: float


@dataclass(frozen=True)
class Direct:
    """Drives Triton in a process of its own."""

    folder: Path
    model: str
    version: int
    rows: list[list[int]]
    name: str = NAME

    def load(self, port: int, connections: int, seconds: int) -> Load:
        """Keep `connections` calls in flight for `seconds`."""
        job = Job(port, self.model, self.version, self.rows, connections, seconds)
        return run_load("retort_cli.bench.direct", asdict(job), self.folder, seconds + 60)


def request(model: str, version: int, ids: Sequence[int]) -> bytes:
    """Return a serialised ModelInferRequest of one text."""
    message = service_pb2.ModelInferRequest(model_name=model, model_version=str(version))
    for name, values in (("input_ids", ids), ("attention_mask", [1] * len(ids))):
        message.inputs.add(name=name, datatype="INT64", shape=[1, len(ids)])
        message.raw_input_contents.append(np.array(values, dtype=np.int64).tobytes())
    message.outputs.add(name="logits")
    return bytes(message.SerializeToString())


async def drive(job: Job) -> Load:
    """Do the job."""
    requests = cycle([request(job.model, job.version, ids) for ids in job.rows])
    latencies_ms: list[float] = []
    # Past any proxy: gRPC takes http_proxy for this machine's own addresses too.
    async with grpc.aio.insecure_channel(f"127.0.0.1:{job.port}", [("grpc.enable_http_proxy", 0)]) as channel:
        infer: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(METHOD)
        started_s = time.perf_counter()
        callers = [_caller(infer, requests, latencies_ms, started_s + job.seconds) for _ in range(job.connections)]
        errors = sum(await asyncio.gather(*callers))
        seconds = time.perf_counter() - started_s
    command = f"{NAME}: {job.connections} calls in flight for {job.seconds:g} s"
    return measured(NAME, command, job.connections, seconds, latencies_ms, errors)


async def _caller(
    infer: "grpc.aio.UnaryUnaryMultiCallable[bytes, bytes]",
    requests: Iterator[bytes],
    latencies_ms: list[float],
    end_s: float,
) -> int:
    errors = 0
    while (started_s := time.perf_counter()) < end_s:
        try:
            await infer(next(requests), timeout=ANSWER_TIMEOUT_S)
        except grpc.aio.AioRpcError:
            errors += 1
        else:
            latencies_ms.append((time.perf_counter() - started_s) * 1e3)
    return errors


if __name__ == "__main__":
    print(json.dumps(asdict(uvloop.run(drive(Job(**json.load(sys.stdin)))))))
