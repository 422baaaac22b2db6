"""The HTTP door: `/predict` and its sisters, or the Open Inference Protocol."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

import gevent
from geventhttpclient import HTTPClient
from geventhttpclient.response import HTTPParseError

from loadtests.access import Access, UnreachableError
from loadtests.reply import Reply


class HttpDoor:
    """One kept connection."""

    protocol = "HTTP"

    def __init__(self, access: Access) -> None:
        self._access = access
        self._prefix = access.parts.path.rstrip("/")
        self._client = HTTPClient.from_url(
            access.url,
            headers={"content-type": "application/json", **access.headers},
            connection_timeout=access.timeout_s,
            network_timeout=access.timeout_s,
            ssl_options={"ca_certs": str(access.ca)} if access.ca else {},
        )

    def models(self) -> list[str]:
        """Ask the repository's index."""
        problem, answer, _ = self._post("/v2/repository/index", {"ready": True}, {})
        if problem or not isinstance(answer, list):
            raise UnreachableError(problem or "the index of models is no list")
        return sorted({entry["name"] for entry in answer})

    def route(self, count: int) -> str:
        """The path."""
        model = quote(self._access.model, safe="")
        if self._access.api == "oip":
            return f"/v2/models/{model}/infer"
        return f"/v1/models/{model}/predict" if model or count > 1 else "/predict"

    def ask(self, texts: Sequence[str], *, bypass_cache: bool = False) -> Reply:
        """Post the texts."""
        extra = {"x-cache-control": "bypass"} if bypass_cache else {}
        route = self.route(len(texts))
        body: dict[str, Any] = {"text": texts[0]} if route == "/predict" else {"inputs": list(texts)}
        if self._access.api == "oip":
            tensor = {"name": "text", "datatype": "BYTES", "shape": [len(texts), 1], "data": list(texts)}
            body = {"inputs": [tensor]}
        problem, answer, headers = self._post(route, body, extra)
        if problem:
            return Reply("shed" if problem.startswith("429") else "failed", problem=problem)
        return Reply.of(_labels(answer), len(texts), headers)

    def close(self) -> None:
        """Close it."""
        self._client.close()

    def _post(self, path: str, body: object, headers: Mapping[str, str]) -> tuple[str, Any, Mapping[str, str]]:
        """Return what is wrong ("" for nothing), the answer and its headers, names in lower case."""
        sent = json.dumps(body).encode()
        try:
            with gevent.Timeout(self._access.timeout_s, TimeoutError("not answered in time")):
                response = self._client.post(self._prefix + path, sent, headers)
                content = bytes(response.read())
        except (OSError, HTTPParseError) as error:
            return str(error) or type(error).__name__, None, {}
        try:
            answer = json.loads(content)
        except ValueError:
            answer = None
        if response.status_code != 200:
            return f"{response.status_code}: {_sentence(answer, content)}", None, {}
        return "", answer, {name.lower(): value for name, value in response.items()}


def _labels(answer: Any) -> list[str] | None:
    """The labels of an answer in any of the three forms; None when it is none."""
    try:
        if isinstance(answer, list):
            return [str(entry["label"] or "") for entry in answer]
        if "outputs" in answer:
            outputs = {output["name"]: output["data"] for output in answer["outputs"]}
            return [str(label or "") for label in outputs.get("label", [""] * len(outputs["score"]))]
        return [str(answer["prediction"] or "")]
    except (KeyError, TypeError):
        return None


def _sentence(answer: Any, content: bytes) -> str:
    """The gateway's own message: with the request's id in it, every failure would be a line of its own."""
    error = answer.get("error") if isinstance(answer, dict) else None
    message = error.get("message") if isinstance(error, dict) else error
    return str(message or content[:200].decode(errors="replace"))
