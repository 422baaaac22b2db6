"""Customers of the gateway: single texts and small lists over HTTP, and the figures that a run must reach.

    locust -f loadtests/locustfile.py --headless -u 16 -r 16 -t 30s --host http://127.0.0.1:8080

Exit code 1 and one line a broken threshold when the run was too slow, too thin or failed too often.
"""

import json
import logging
import random
import re
from argparse import ArgumentParser
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from locust import FastHttpUser, constant, events, task
from locust.env import Environment
from locust.stats import StatsEntry

log = logging.getLogger("loadtest")

TEXTS = Path(__file__).with_name("support-tickets.txt")
STEP = re.compile(r"([\w-]+);dur=([0-9.]+)")
LIST_LENGTH = 4


@dataclass(frozen=True)
class Thresholds:
    """What a run must reach; a missing figure is not checked."""

    p50_ms: float | None
    p95_ms: float | None
    p99_ms: float | None
    max_error_share: float
    min_rps: float

    def broken_by(self, total: StatsEntry) -> Iterator[str]:
        """Yield one sentence for each threshold that `total` misses."""
        if not total.num_requests:
            yield "no request was answered"
            return
        if total.fail_ratio > self.max_error_share:
            yield f"{total.fail_ratio:.2%} of the requests failed, allowed are {self.max_error_share:.2%}"
        if total.total_rps < self.min_rps:
            yield f"{total.total_rps:.1f} requests a second, wanted are at least {self.min_rps:g}"
        for percent, limit_ms in ((50, self.p50_ms), (95, self.p95_ms), (99, self.p99_ms)):
            took_ms = total.get_response_time_percentile(percent / 100)
            if limit_ms is not None and took_ms > limit_ms:
                yield f"p{percent} is {took_ms:g} ms, allowed are {limit_ms:g} ms"


class Customer(FastHttpUser):
    """Asks for one prediction after the other: mostly single texts, sometimes a short list."""

    wait_time = constant(0)

    def on_start(self) -> None:
        """Read the options once for each simulated customer."""
        options: Any = self.environment.parsed_options
        self.headers = {"Authorization": f"Bearer {options.api_key}"} if options.api_key else {}
        self.list_path = f"/v1/models/{options.model}/predict"
        self.texts = read_texts(Path(options.texts))

    @task(9)
    def one_text(self) -> None:
        """The default model's door: an object with the prediction."""
        self.ask("/predict", {"text": self.some_texts(1)[0]}, lambda answer: "prediction" in answer)

    @task(1)
    def many_texts(self) -> None:
        """A named model's door: one entry for each text."""
        texts = self.some_texts(LIST_LENGTH)
        self.ask(self.list_path, {"inputs": texts}, lambda answer: len(answer) == len(texts))

    def some_texts(self, count: int) -> list[str]:
        """Return `count` texts, drawn with replacement."""
        return random.choices(self.texts, k=count)  # noqa: S311 - no secret

    def ask(self, path: str, body: Mapping[str, Any], is_answer: Callable[[Any], bool]) -> None:
        """Send `body`; anything but a 200 with an answer in it counts as a failure."""
        with self.client.post(path, json=body, headers=self.headers, catch_response=True) as response:
            if response.status_code != 200:
                response.failure(f"{response.status_code}: {sentence(response.text) or response.error}")
                return
            try:
                sound = is_answer(response.json())
            except (ValueError, TypeError):
                sound = False
            if not sound:
                response.failure(f"not an answer: {(response.text or '')[:200]}")
            self.count_steps(response.headers.get("server-timing") or "")

    def count_steps(self, server_timing: str) -> None:
        """Give each step of the gateway's own account a row of its own, outside the aggregate."""
        for step, took_ms in STEP.findall(server_timing):
            self.environment.stats.get(step, "server").log(float(took_ms), 0)


def sentence(body: str | None) -> str:
    """Return the gateway's own message: with the request's id in it, every failure would be a line of its own."""
    try:
        return str(json.loads(body or "")["error"]["message"])
    except (ValueError, TypeError, KeyError):
        return (body or "")[:200]


def read_texts(path: Path) -> list[str]:
    """Return the lines of `path` that are neither empty nor comments."""
    lines = (line.strip() for line in path.read_text(encoding="utf-8").splitlines())
    texts = [line for line in lines if line and not line.startswith("#")]
    if not texts:
        raise ValueError(f"{path} holds no text: one a line is needed")
    return texts


def add_options(parser: ArgumentParser) -> None:
    """Declare what a run can be told, by option or by environment."""

    def add(option: str, variable: str, **more: Any) -> None:
        parser.add_argument(option, env_var=variable, **more)

    # Locust's web page shows every option unless told; the key is a secret.
    add("--api-key", "RETORT_API_KEY", default="", include_in_web_ui=False, help="sent as Authorization: Bearer")
    add("--model", "LOADTEST_MODEL", default="support-tickets", help="the model that the lists are sent to")
    add("--texts", "LOADTEST_TEXTS", default=str(TEXTS), help="file with one text a line")
    add("--p50-ms", "LOADTEST_P50_MS", type=float, help="limit of the median; default: none")
    add("--p95-ms", "LOADTEST_P95_MS", type=float, default=250.0, help="limit of the 95th percentile")
    add("--p99-ms", "LOADTEST_P99_MS", type=float, default=500.0, help="limit of the 99th percentile")
    add("--max-error-share", "LOADTEST_MAX_ERROR_SHARE", type=float, default=0.001, help="0.01 is one in a hundred")
    add("--min-rps", "LOADTEST_MIN_RPS", type=float, default=50.0, help="requests a second over the whole run")


def judge(environment: Environment, **_: Any) -> None:
    """Set the exit code; errors within the allowed share do not fail the run."""
    options: Any = environment.parsed_options
    thresholds = Thresholds(options.p50_ms, options.p95_ms, options.p99_ms, options.max_error_share, options.min_rps)
    broken = list(thresholds.broken_by(environment.stats.total))
    for sentence in broken:
        log.error("threshold broken: %s", sentence)
    raised = bool(environment.runner and environment.runner.exceptions)
    environment.process_exit_code = 1 if broken or raised else 0


events.init_command_line_parser.add_listener(add_options)  # type: ignore[no-untyped-call]
events.quitting.add_listener(judge)  # type: ignore[no-untyped-call]
