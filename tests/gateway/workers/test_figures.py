"""Figures: of several registries one, and what a dead process counted stays."""

import json
import math
from typing import Any

from prometheus_client import CollectorRegistry, Gauge, generate_latest
from prometheus_client.registry import Collector

from gateway.metrics import LEAST, SUMMED, LabelCache, Metrics
from gateway.workers.figures import Figures, kept, plain, together


class Fixed(Collector):
    """Collects what it was given."""

    def __init__(self, families: list[Any]) -> None:
        self.families = families

    def collect(self) -> list[Any]:
        return self.families


def worker(requests: int, *, inflight: int, up: int = 1) -> Figures:
    """The figures of a worker, as they arrive."""
    metrics = Metrics()
    cache = LabelCache(metrics)
    for number in range(requests):
        cache.answered(route="predict", model="m", version="1", cohort="stable", code="200", seconds=number / 100)
    metrics.inflight.set(inflight)
    metrics.queue_depth.labels("m").set(inflight * 2)
    metrics.upstream_up.labels("a:1").set(up)
    metrics.upstream_breaker.labels("a:1").set(1 - up)
    metrics.model_info.labels("m", "1", "sha256:x", "stable").set(1)
    arrived: Figures = json.loads(json.dumps(plain(metrics.registry.collect())))
    return arrived


def joint(*parts: Figures) -> CollectorRegistry:
    registry = CollectorRegistry()
    registry.register(Fixed(together(parts)))
    return registry


REQUEST = {"route": "predict", "model": "m", "version": "1", "cohort": "stable", "code": "200"}
TIMED = {"route": "predict", "model": "m", "cohort": "stable"}


def test_counters_and_histograms_are_summed() -> None:
    whole = joint(worker(3, inflight=0), worker(5, inflight=0))
    assert whole.get_sample_value("retort_requests_total", REQUEST) == 8
    seconds = "retort_request_duration_seconds"
    assert whole.get_sample_value(f"{seconds}_count", TIMED) == 8
    assert whole.get_sample_value(f"{seconds}_bucket", {**TIMED, "le": "0.01"}) == 4  # 0 and 0.01 of each
    assert math.isclose(whole.get_sample_value(f"{seconds}_sum", TIMED) or 0, 0.03 + 0.10)


def test_gauges_are_what_a_look_at_the_whole_must_show() -> None:
    whole = joint(worker(0, inflight=2), worker(0, inflight=5, up=0))
    assert whole.get_sample_value("retort_inflight_requests") == 7
    assert whole.get_sample_value("retort_queue_depth", {"model": "m"}) == 14
    assert whole.get_sample_value("retort_upstream_up", {"upstream": "a:1"}) == 0
    assert whole.get_sample_value("retort_upstream_breaker", {"upstream": "a:1"}) == 1
    info = {"model": "m", "version": "1", "digest": "sha256:x", "cohort": "stable"}
    assert whole.get_sample_value("retort_model_info", info) == 1


def test_the_first_start_and_all_memory_are_the_wholes() -> None:
    one, other = worker(0, inflight=0), worker(0, inflight=0)
    for figures, value in ((one, 5.0), (other, 7.0)):
        for family in figures:
            if family[0].startswith("process_"):
                family[3] = [[name, labels, value] for name, labels, _ in family[3]]
    whole = joint(one, other)
    assert whole.get_sample_value("process_start_time_seconds") == 5
    assert whole.get_sample_value("process_resident_memory_bytes") == 12
    assert whole.get_sample_value("process_cpu_seconds_total") == 12


def test_what_a_dead_worker_counted_stays_and_its_states_go() -> None:
    gone = plain(together([[], kept(worker(3, inflight=9))]))
    whole = joint(gone, worker(1, inflight=1))
    assert whole.get_sample_value("retort_requests_total", REQUEST) == 4
    assert whole.get_sample_value("retort_inflight_requests") == 1
    twice = joint(plain(together([gone, kept(worker(2, inflight=0))])))
    assert twice.get_sample_value("retort_requests_total", REQUEST) == 5
    assert twice.get_sample_value("retort_inflight_requests") is None


def test_created_is_when_the_first_was() -> None:
    one, other = worker(1, inflight=0), worker(1, inflight=0)
    created = [next(s[2] for f in w for s in f[3] if s[0] == "retort_requests_created") for w in (one, other)]
    assert joint(one, other).get_sample_value("retort_requests_created", REQUEST) == min(created)


def test_one_alone_is_exposed_as_without_it() -> None:
    metrics = Metrics()
    LabelCache(metrics).answered(route="r", model="m", version="1", cohort="c", code="200", seconds=0.1)
    metrics.registry._collector_to_names = {  # the process' own figures move between the two looks
        collector: names
        for collector, names in metrics.registry._collector_to_names.items()
        if not any(name.startswith("process_") for name in names)
    }
    assert generate_latest(joint(plain(metrics.registry.collect()))) == generate_latest(metrics.registry)


def test_nan_is_no_number_of_the_whole() -> None:
    registry = CollectorRegistry()
    gauge = Gauge("retort_queue_depth", "x", registry=registry)
    gauge.set(2)
    figures = plain(registry.collect())
    missing: Figures = [[*figures[0][:3], [["retort_queue_depth", {}, None]]]]
    assert joint(missing, figures).get_sample_value("retort_queue_depth") == 2
    assert math.isnan(joint(missing).get_sample_value("retort_queue_depth") or 0)


def test_the_names_of_the_rules_are_metrics() -> None:
    names = {family[0] for family in worker(0, inflight=0)}
    assert names >= SUMMED | LEAST
