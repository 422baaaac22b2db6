"""A customer: asks one question after the other, over a connection of its own."""

from __future__ import annotations

import time
from typing import ClassVar

from locust import User, task
from locust.exception import StopUser

from loadtests.door import Door, open_door
from loadtests.reply import Reply
from loadtests.run import Run

NEVER_S = 1e6
PAUSE_S = 0.1  # after a failure: who is refused at once would otherwise ask thousands of times a second


class Customer(User):
    """Closed loop: asks when answered. Open loop: takes the next request that is due, whoever else is waiting."""

    shared: ClassVar[Run]  # set before the first customer comes
    door: Door
    due_s: float | None = None
    failed = False

    def on_start(self) -> None:
        """Connect; in an open loop wait for the others and for the first request."""
        self.door = open_door(self.shared.access)
        if self.shared.profile:
            self.shared.opened.wait()
            if self.shared.arrivals is None:
                raise StopUser  # the time was over before every customer had come
            self.wait()  # type: ignore[no-untyped-call]

    def on_stop(self) -> None:
        """Hang up."""
        self.door.close()

    def wait_time(self) -> float:
        """Seconds until the next question. Locust ends who waits here at once, and lets who asks come to the end."""
        if self.shared.arrivals is None:
            return PAUSE_S if self.failed else 0.0
        self.due_s = self.shared.arrivals.take()
        return min(NEVER_S, max(0.0, self.due_s - time.perf_counter()))

    @task
    def ask(self) -> None:
        """Ask; in an open loop the latency counts from when the request was due, so a late start is part of it."""
        texts = self.shared.next()
        started_s = time.perf_counter()
        reply = self.door.ask([text for _, text in texts])
        ended_s = time.perf_counter()
        self.failed = reply.outcome != "answered"
        since_s = started_s
        if self.due_s is not None:
            since_s = self.due_s
            self.shared.tally.add("client", "sent late by", (started_s - self.due_s) * 1e3)
        took_ms = (ended_s - since_s) * 1e3
        self.shared.note(texts, reply, took_ms)
        self._tell_locust(len(texts), reply, took_ms)

    def _tell_locust(self, count: int, reply: Reply, took_ms: float) -> None:
        """For its table, its web page and its own reports."""
        self.environment.events.request.fire(
            request_type=self.door.protocol,
            name=self.door.route(count),
            response_time=took_ms,
            response_length=0,
            exception=reply.problem or None,
            context={},
        )
