"""Every metric of the gateway; each comment names who reads it."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, PlatformCollector, ProcessCollector

# Inference takes 0.5 ms to a second; the default buckets start at 5 ms and would see nothing of it.
SECONDS = (0.0005, 0.001, 0.002, 0.003, 0.005, 0.0075, 0.01, 0.015, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
ROWS = (1, 2, 4, 6, 8, 12, 16, 24, 32, 64)
SHARES = (0.0, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 0.75)
WHICH = ("model", "version")
# Gauges of several workers as one: what each has a part of is summed, of a good state the least is shown, of all other
# states the greatest.
SUMMED = frozenset(
    {
        *("retort_inflight_requests", "retort_queue_depth"),
        *("process_resident_memory_bytes", "process_virtual_memory_bytes", "process_open_fds", "process_max_fds"),
    }
)
LEAST = frozenset({"retort_upstream_up", "process_start_time_seconds"})


class Metrics:
    """The gateway's metrics in a registry of their own, so that two gateways in one process do not collide."""

    def __init__(self) -> None:
        registry = self.registry = CollectorRegistry()
        ProcessCollector(registry=registry)  # dashboard "resources": memory, CPU, open files
        PlatformCollector(registry=registry)  # dashboard "about": Python version

        # Dashboard "traffic" and the alert on the error ratio; rollout analysis compares cohorts.
        self.requests = Counter(
            "retort_requests_total",
            "Requests answered.",
            ("route", "model", "version", "cohort", "code"),
            registry=registry,
        )
        # Dashboard "latency" (p50, p95, p99) and the alert on p99.
        self.request_seconds = Histogram(
            "retort_request_duration_seconds",
            "From the request's head to the last byte of the answer.",
            ("route", "model", "cohort"),
            buckets=SECONDS,
            registry=registry,
        )
        # Autoscaler (KEDA) and dashboard "load".
        self.inflight = Gauge("retort_inflight_requests", "Requests being answered.", registry=registry)
        # Autoscaler (KEDA), dashboard "load" and the alert on saturation.
        self.queue_depth = Gauge("retort_queue_depth", "Rows that wait for a batch.", ("model",), registry=registry)
        # Alert on shedding; dashboard "load".
        self.shed = Counter("retort_shed_total", "Requests refused early.", ("reason",), registry=registry)
        # Alert "keys file broken": a new or withdrawn key is not in force.
        self.keys_errors = Counter(
            "retort_keys_errors_total", "Looks at a keys file that could not be used.", registry=registry
        )
        # Alert "certificate broken": the one in use will expire.
        self.certificate_errors = Counter(
            "retort_certificate_errors_total", "Looks at a certificate that could not be used.", registry=registry
        )
        # Alert "Redis down": each gateway limits rates and caches alone.
        self.redis_errors = Counter("retort_redis_errors_total", "Calls to Redis that failed.", registry=registry)
        # Dashboard "cache" and alert "cache loses answers"; `reason` is queue_full, redis_away or refused.
        self.cache_dropped = Counter(
            "retort_cache_dropped_total", "Answers that were not kept.", ("tier", "reason"), registry=registry
        )
        # Alert "foreign entries": something else writes under the cache's names.
        self.cache_malformed = Counter(
            "retort_cache_malformed_total", "Entries that could not be used.", ("tier",), registry=registry
        )
        # Dashboard "cache" and alert "semantic cache is per process": Redis is too old, or away since the start.
        self.cache_vector_sets = Gauge(
            "retort_cache_vector_sets_up", "1 = Redis has vector sets: replicas share them.", registry=registry
        )
        # Dashboard "batching": is there company to batch with?
        self.batch_rows = Histogram("retort_batch_rows", "Rows a batch.", WHICH, buckets=ROWS, registry=registry)
        # Dashboard "batching": share of computed tokens that are padding.
        self.padding = Histogram(
            "retort_batch_padding_ratio", "Padding over all tokens.", WHICH, buckets=SHARES, registry=registry
        )
        # Dashboard "latency by step": waiting for a batch.
        self.queue_seconds = Histogram(
            "retort_queue_seconds", "From queue to batch.", WHICH, buckets=SECONDS, registry=registry
        )
        # Dashboard "latency by step": Triton, network included.
        self.upstream_seconds = Histogram(
            "retort_upstream_seconds", "One call to Triton.", WHICH, buckets=SECONDS, registry=registry
        )
        # Alert "upstream errors"; `result` is ok or the error's code.
        self.upstream_calls = Counter("retort_upstream_calls_total", "Calls to Triton.", ("result",), registry=registry)
        # Alert "Triton down"; dashboard "health".
        self.upstream_up = Gauge(
            "retort_upstream_up", "1 = Triton says that it is ready.", ("upstream",), registry=registry
        )
        # Alert "a model server is left alone"; dashboard "health".
        self.upstream_breaker = Gauge(
            "retort_upstream_breaker", "1 = open: no request goes there.", ("upstream",), registry=registry
        )
        # Dashboard "health": failures that callers did not see (result="ok"), those that they did, and silences that
        # were none (result="needless": the first answered after all).
        self.upstream_retries = Counter(
            "retort_upstream_retries_total", "Calls sent to a second Triton.", ("result",), registry=registry
        )
        # Dashboard "versions": which digest answers.
        self.model_info = Gauge(
            "retort_model_info",
            "The version that answers.",
            ("model", "version", "digest", "cohort"),
            registry=registry,
        )
        # Alert "a version does not verify" (result="rejected"); dashboard "versions".
        self.versions = Gauge(
            "retort_model_versions", "Versions by state.", ("model", "version", "result"), registry=registry
        )
        # Alert "repository unreadable": the last good state is being served.
        self.repository_errors = Counter(
            "retort_repository_errors_total", "Scans of the model repository that failed.", registry=registry
        )


class SupervisorMetrics:
    """What the supervisor of several workers measures by itself; the rest it asks of them."""

    def __init__(self) -> None:
        registry = self.registry = CollectorRegistry()
        ProcessCollector(registry=registry)  # dashboard "resources": its own part
        # Alert "fewer workers than RETORT_WORKERS".
        self.serving = Gauge("retort_serving_workers", "Workers whose doors are open.", registry=registry)
        # Alert "workers die".
        self.restarts = Counter(
            "retort_worker_restarts_total", "Workers that ended and were replaced.", registry=registry
        )


class LabelCache:
    """Children of labelled metrics by their labels: `labels()` costs 2 us, a dict look-up 0.1."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._counters: dict[tuple[str, ...], Counter] = {}
        self._histograms: dict[tuple[str, ...], Histogram] = {}

    def answered(self, *, route: str, model: str, version: str, cohort: str, code: str, seconds: float) -> None:
        """Count one answered request."""
        key = (route, model, version, cohort, code)
        if (counter := self._counters.get(key)) is None:
            counter = self._counters[key] = self._metrics.requests.labels(*key)
        if (histogram := self._histograms.get(key)) is None:
            histogram = self._histograms[key] = self._metrics.request_seconds.labels(route, model, cohort)
        counter.inc()
        histogram.observe(seconds)
