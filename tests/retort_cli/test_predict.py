"""`retort predict` against small real HTTP servers: the answer, the refusal, and what is no gateway."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread
from typing import Any

import pytest

from retort_cli.errors import CommandError
from retort_cli.predict import Answer, predict


@contextmanager
def answering(status: int, content: str) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    seen: list[dict[str, Any]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            seen.append({"path": self.path, "body": body, "key": self.headers["authorization"]})
            self.send_response(status)
            self.send_header("x-model-version", "3")
            self.end_headers()
            self.wfile.write(content.encode())

        def log_message(self, *_arguments: object) -> None:
            """Keep quiet."""

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}", seen
        finally:
            server.shutdown()
            thread.join()


def test_the_default_model() -> None:
    body = json.dumps({"prediction": "refund", "confidence": 0.9, "model": "tickets", "version": 3})
    with answering(200, body) as (url, seen):
        assert predict(url + "/", "hello", key="k") == Answer("refund", 0.9, "tickets", "3")
    assert seen == [{"path": "/predict", "body": {"text": "hello"}, "key": "Bearer k"}]


def test_a_named_model() -> None:
    with answering(200, json.dumps([{"label": "refund", "score": 0.9}])) as (url, seen):
        assert predict(url, "hello", "a b") == Answer("refund", 0.9, "a b", "3")
    assert seen == [{"path": "/v1/models/a%20b/predict", "body": {"inputs": "hello"}, "key": None}]


def test_the_gateways_refusal_is_passed_on() -> None:
    body = json.dumps({"error": {"code": "unknown_model", "message": "model 'x' is not here"}})
    with answering(404, body) as (url, _), pytest.raises(CommandError, match="answered 404: model 'x' is not here"):
        predict(url, "hello", "x")


@pytest.mark.parametrize("content", ["<html>", "{}", "[]", '{"prediction": "a"}', "7"])
@pytest.mark.parametrize("model", [None, "m"])
def test_what_is_no_gateway_is_said(content: str, model: str | None) -> None:
    with answering(200, content) as (url, _), pytest.raises(CommandError, match="gateway"):
        predict(url, "hello", model)


def test_a_proxy_is_not_asked_for_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    with answering(200, json.dumps([{"label": "refund", "score": 0.9}])) as (url, _):
        assert predict(url, "hello", "m").label == "refund"


@pytest.mark.parametrize(("url", "model"), [("http://[::1", None), ("http://127.0.0.1:1", "\udcff")])
def test_an_address_or_name_that_cannot_be_sent_is_one_sentence(url: str, model: str | None) -> None:
    with pytest.raises(CommandError, match="cannot be asked"):
        predict(url, "hello", model)


def test_only_http_urls_are_asked() -> None:
    with pytest.raises(CommandError, match="--url must begin with http"):
        predict("file:///etc/hostname", "hello")
