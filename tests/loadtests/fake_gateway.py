"""A gateway in small, over HTTP and over gRPC: it answers, remembers, caches, stalls and refuses as a test tells it."""

import json
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import grpc
import numpy as np
from tritonclient.grpc import service_pb2, service_pb2_grpc
from tritonclient.utils import serialize_byte_tensor

KEY = "a-key-for-this-test"
TIMING = "queue;dur=7.000, triton;dur=3.500, total;dur=11.000"


class RefusedError(Exception):
    """The status and the sentence of a refusal."""

    def __init__(self, status: int, sentence: str) -> None:
        super().__init__(sentence)
        self.status = status


@dataclass
class Gateway:
    """What it does, and what it saw: texts of calls, and those that were sent past the cache."""

    models: Sequence[str] = ("tickets",)
    takes_s: float = 0.002
    fails_every: int = 0
    fails_with: int = 503
    answer: Any = None
    caches: bool = False
    idle_s: float | None = None  # after which it closes a connection
    stalls_s: float = 0.0  # once, for everybody, half a second after the first call
    labels: Sequence[str] = ("refund", "delivery", "other")
    paths: set[str] = field(default_factory=set)
    calls: list[Sequence[str]] = field(default_factory=list)
    bypassed: list[str] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _first_s: float = 0.0

    def check(self, authorization: str | None) -> None:
        """Raise unless the key is right."""
        if authorization != f"Bearer {KEY}":
            raise RefusedError(401, "an API key is needed")

    def label(self, text: str) -> str:
        """The same for the same text."""
        return self.labels[len(text) % len(self.labels)]

    def serve(self, texts: Sequence[str], *, bypass: bool) -> str:
        """Take the time that it takes; return what x-cache says."""
        with self._lock:
            if bypass:
                self.bypassed += texts
                return "bypass"
            self._first_s = self._first_s or time.monotonic()
            if self.stalls_s and time.monotonic() - self._first_s > 0.5:
                stalls_s, self.stalls_s = self.stalls_s, 0.0
                time.sleep(stalls_s)  # with the lock: for everybody
            known = {text for call in self.calls for text in call} if self.caches else set()
            self.calls.append(texts)
            number = len(self.calls)
        time.sleep(self.takes_s)
        if self.fails_every and number % self.fails_every == 0:
            raise RefusedError(self.fails_with, "not now")
        if not self.caches:
            return "bypass"
        return "exact" if set(texts) <= known else "miss"


def http_answer(gateway: Gateway, path: str, headers: Any, body: Any) -> tuple[Any, str]:
    """Return the answer of a path and what x-cache says."""
    gateway.check(headers["authorization"])
    if path == "/v2/repository/index":
        return [{"name": name, "version": "1", "state": "READY", "reason": ""} for name in gateway.models], "bypass"
    gateway.paths.add(path)
    texts = [body["text"]] if "text" in body else body["inputs"]
    if path.startswith("/v2/"):
        texts = texts[0]["data"]
    cache = gateway.serve(texts, bypass=headers["x-cache-control"] == "bypass")
    if gateway.answer is not None:
        return gateway.answer, cache
    labels = [gateway.label(text) for text in texts]
    if path == "/predict":
        return {"prediction": labels[0], "confidence": 0.9, "model": "tickets", "version": 1}, cache
    if path.startswith("/v2/"):
        return {"outputs": [{"name": "label", "data": labels}, {"name": "score", "data": [0.9] * len(labels)}]}, cache
    return [{"label": label, "score": 0.9} for label in labels], cache


@contextmanager
def http(gateway: Gateway) -> Iterator[str]:
    """Serve HTTP on a free port; yields the base URL, which has a path."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        timeout = gateway.idle_s
        wbufsize = -1  # head and body in one packet: in two, the client's delayed ACK costs 40 ms

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            status, cache = 200, ""
            try:
                answer, cache = http_answer(gateway, self.path.removeprefix("/base"), self.headers, body)
            except RefusedError as error:
                status, answer = error.status, {"error": {"code": "c", "message": str(error)}, "request_id": self.path}
            content = json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("content-length", str(len(content)))
            self.send_header("server-timing", TIMING)
            self.send_header("X-Cache", cache)
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        request_queue_size = 128
        daemon_threads = True

    with Server(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/base"
        finally:
            server.shutdown()
            thread.join()


CODES = {
    401: grpc.StatusCode.UNAUTHENTICATED,
    413: grpc.StatusCode.RESOURCE_EXHAUSTED,
    429: grpc.StatusCode.RESOURCE_EXHAUSTED,
    503: grpc.StatusCode.UNAVAILABLE,
}


@contextmanager
def over_grpc(gateway: Gateway) -> Iterator[str]:
    """Serve gRPC on a free port; yields the base URL."""

    class Servicer(service_pb2_grpc.GRPCInferenceServiceServicer):  # type: ignore[misc]
        def RepositoryIndex(self, _: Any, context: Any) -> Any:  # noqa: N802
            metadata = checked(context)
            assert metadata
            answer = service_pb2.RepositoryIndexResponse()
            for name in gateway.models:
                answer.models.add(name=name, version="1", state="READY")
            return answer

        def ModelInfer(self, request: Any, context: Any) -> Any:  # noqa: N802
            metadata = checked(context)
            texts = [text.decode() for text in request.inputs[0].contents.bytes_contents]
            try:
                cache = gateway.serve(texts, bypass=metadata.get("x-cache-control") == "bypass")
            except RefusedError as error:
                code = "too_large" if error.status == 413 else "overloaded"
                context.set_trailing_metadata((("x-error-code", code),))
                context.abort(CODES[error.status], str(error))
            context.set_trailing_metadata((("x-cache", cache), ("server-timing", TIMING)))
            labels = np.array([[gateway.label(text).encode()] for text in texts], dtype=object)
            answer = service_pb2.ModelInferResponse(model_name=request.model_name)
            answer.outputs.add(name="label", datatype="BYTES", shape=labels.shape)
            answer.raw_output_contents.append(serialize_byte_tensor(labels).item())
            return answer

    def checked(context: Any) -> Mapping[str, str]:
        metadata = dict(context.invocation_metadata())
        try:
            gateway.check(metadata.get("authorization"))
        except RefusedError as error:
            context.abort(CODES[error.status], str(error))
        return metadata

    server = grpc.server(ThreadPoolExecutor(32))
    service_pb2_grpc.add_GRPCInferenceServiceServicer_to_server(Servicer(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield f"grpc://127.0.0.1:{port}"
    finally:
        server.stop(0).wait()
