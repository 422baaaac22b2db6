"""The load test: hangs runs, their tally and their verdict into Locust's events."""

from __future__ import annotations

import logging
import time
from pathlib import Path
from typing import Any

from locust import LoadTestShape
from locust.env import Environment
from locust.runners import MasterRunner, WorkerRunner

from loadtests.access import UnreachableError
from loadtests.customer import Customer
from loadtests.figures import Figures
from loadtests.options import thresholds
from loadtests.profile import Profile
from loadtests.report import Report
from loadtests.run import Run
from loadtests.tally import Tally

log = logging.getLogger("loadtest")


class Customers(LoadTestShape):
    """A closed loop's number of customers over time."""

    use_common_options = True

    def __init__(self, profile: Profile) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._profile = profile

    def tick(self) -> tuple[int, float] | None:
        """Locust asks every second; None ends the run."""
        moment: float = self.get_run_time()  # type: ignore[no-untyped-call]
        if moment >= self._profile.seconds:
            return None
        customers = max(1, round(self._profile.level(moment)))
        return customers, customers  # all of them at once


class LoadTest:
    """One Locust process; in a distributed test the master judges and the workers run."""

    def __init__(self, environment: Environment) -> None:
        self.environment = environment
        options: Any = environment.parsed_options
        self.options = options
        self.tally = Tally()
        self._prepared = False
        self._choose_shape()
        events = environment.events
        events.test_start.add_listener(self.start)  # type: ignore[no-untyped-call]
        events.spawning_complete.add_listener(self.open)  # type: ignore[no-untyped-call]
        events.test_stopping.add_listener(self.close)  # type: ignore[no-untyped-call]
        events.report_to_master.add_listener(self.report_to_master)  # type: ignore[no-untyped-call]
        events.worker_report.add_listener(self.worker_report)  # type: ignore[no-untyped-call]
        events.quitting.add_listener(self.judge)  # type: ignore[no-untyped-call]
        # What is under way when the time is over is waited for: dropping the slowest would flatter.
        environment.stop_timeout = environment.stop_timeout or options.timeout_s
        if options.headless and not self._is_master and not self._is_worker:
            self.prepare()  # now, so that it takes nothing from --run-time

    @property
    def _is_master(self) -> bool:
        return isinstance(self.environment.runner, MasterRunner)

    @property
    def _is_worker(self) -> bool:
        return isinstance(self.environment.runner, WorkerRunner)

    def _choose_shape(self) -> None:
        options = self.options
        if not self._is_worker:  # which gets these from its master
            options.seed = options.seed or int(time.time())
            options.seconds = options.run_time
        if options.shape == "constant" or self._is_worker:
            return
        if not options.run_time:
            raise SystemExit(f"load test: --shape {options.shape} needs --run-time")
        if options.rate is None:
            users = options.num_users or 1
            profile = Profile.of(options.shape, users, options.run_time, options.spike_factor)
            self.environment.shape_class = Customers(profile)

    def prepare(self) -> None:
        """Make the run; what stands in its way ends the process with one sentence."""
        runner = self.environment.runner
        part, parts = (runner.worker_index, self.options.expect_workers) if isinstance(runner, WorkerRunner) else (0, 1)
        log.info("preparing: corpus, model, labels ...")
        try:
            Customer.shared = Run.prepare(self.options, self.environment.host or "", part, parts)
        except ValueError as error:
            raise SystemExit(f"load test: {error}") from error
        except UnreachableError as error:
            raise SystemExit(f"load test: {self.environment.host} gives no answer: {error}") from error
        log.info("%d texts labelled by the served model", len(Customer.shared.workload.labels))
        self.tally = Customer.shared.tally
        self._prepared = True

    def start(self, **_: Any) -> None:
        """Begin with a clean tally; a second run from the web page is prepared anew."""
        if self._is_master:
            self.tally = Tally()
        elif not self._prepared:
            self.prepare()
        self._prepared = False

    def open(self, **_: Any) -> None:
        """Every customer is there."""
        if not self._is_master:
            Customer.shared.open()

    def close(self, **_: Any) -> None:
        """The time is over."""
        if not self._is_master:
            Customer.shared.close()

    def report_to_master(self, data: dict[str, Any], **_: Any) -> None:
        """Add the tally to what a worker reports."""
        data["retort"] = self.tally.take()

    def worker_report(self, data: dict[str, Any], **_: Any) -> None:
        """Add what a worker reports to the tally."""
        self.tally.merge(data["retort"])

    def judge(self, **_: Any) -> None:
        """Report, and set the exit code; errors within the allowed share do not fail the run."""
        if self._is_worker:
            return
        total = self.environment.stats.total
        seconds = (total.last_request_timestamp or total.start_time) - total.start_time
        limits, figures = thresholds(self.options), Figures.of(self.tally, seconds)
        broken = list(limits.broken_by(figures))
        runner = self.environment.runner
        if runner and runner.exceptions:
            broken.append("the load test itself raised an exception, see above")
        report = Report(self._facts(), figures, limits, broken)
        log.info("\n\n%s", report.as_markdown())
        for sentence in broken:
            log.error("threshold broken: %s", sentence)
        if self.options.report:
            report.write(Path(self.options.report))
        self.environment.process_exit_code = 1 if broken else 0

    def _facts(self) -> dict[str, object]:
        options = self.options
        loop = "closed" if options.rate is None else "open"
        facts = {"url": self.environment.host, "loop": loop, "users": options.num_users or 1}
        names = ("rate", "shape", "model", "words", "batch_sizes", "repeat_share", "paraphrase_share", "seed")
        given = {name: getattr(options, name) for name in names if getattr(options, name) not in ("", None)}
        return facts | given | {"corpus": Path(options.corpus).name}
