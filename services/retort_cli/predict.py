"""`retort predict TEXT`: one text to a running gateway, its answer as a line."""

import argparse
import json
import os
from dataclasses import dataclass
from http.client import HTTPException
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import quote
from urllib.request import Request

from retort_cli.door import open_door
from retort_cli.errors import CommandError


@dataclass(frozen=True)
class Answer:
    """A prediction: label, confidence between 0 and 1, and the version that gave it."""

    label: str
    score: float
    model: str
    version: str


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    port = os.environ.get("RETORT_HTTP_PORT") or "8080"
    parser.add_argument("text")
    parser.add_argument("--model", help="default: the gateway's default model")
    parser.add_argument("--url", default=f"http://127.0.0.1:{port}", help="the gateway; default: %(default)s")
    parser.add_argument("--key", default=os.environ.get("RETORT_API_KEY"), help="API key; default: $RETORT_API_KEY")


def run(arguments: argparse.Namespace) -> int:
    """Print `label score model version`, tab-separated."""
    answer = predict(arguments.url, arguments.text, arguments.model, arguments.key)
    print(f"{answer.label}\t{answer.score:.4f}\t{answer.model}\t{answer.version}")
    return 0


def predict(url: str, text: str, model: str | None = None, key: str | None = None) -> Answer:
    """Ask the gateway at `url`. Raises CommandError with the gateway's own message when it refuses."""
    if not url.startswith(("http://", "https://")):
        raise CommandError(f"--url must begin with http:// or https://, not {url!r}")
    headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {key}"} if key else {})
    try:
        path, body = (
            ("/predict", {"text": text}) if model is None else (f"/v1/models/{quote(model)}/predict", {"inputs": text})
        )
        request = Request(url.rstrip("/") + path, json.dumps(body).encode(), headers)  # noqa: S310 - checked above
        with open_door(request, 30) as response:
            content = json.load(response)
            version = response.headers.get("x-model-version", "?")
    except HTTPError as error:
        raise CommandError(f"the gateway answered {error.code}: {_message(error)}") from error
    except (URLError, OSError, HTTPException) as error:
        reason = getattr(error, "reason", error)
        raise CommandError(f"no gateway answers at {url} ({reason}); `make up` starts one") from error
    except ValueError as error:
        raise CommandError(f"{url} cannot be asked, or does not answer like a gateway: {error}") from error
    return _answer(content, model, version)


def _answer(content: Any, model: str | None, version: str) -> Answer:
    try:
        if model is None:
            return Answer(str(content["prediction"]), float(content["confidence"]), content["model"], version)
        return Answer(str(content[0]["label"]), float(content[0]["score"]), model, version)
    except (KeyError, IndexError, TypeError, ValueError) as error:
        raise CommandError(f"the answer is not a gateway's: {str(content)[:200]}") from error


def _message(error: HTTPError) -> str:
    """Return the gateway's own sentence, or what came instead of one."""
    text = error.read(10_000).decode(errors="replace")
    try:
        return str(json.loads(text)["error"]["message"])
    except (ValueError, KeyError, TypeError):
        return text[:200] or str(error.reason)
