"""Every metric of the loader; each comment names who reads it."""

from prometheus_client import CollectorRegistry, Counter, Gauge


class Metrics:
    """The loader's metrics in a registry of their own."""

    def __init__(self) -> None:
        registry = self.registry = CollectorRegistry()
        # Alert "version rejected"; dashboard "versions". result: loaded, rejected (does not verify), failed (to load).
        self.versions = Gauge(
            "retort_loader_versions",
            "Versions by what became of them.",
            ("model", "version", "result"),
            registry=registry,
        )
        # Dashboard "versions".
        self.loads = Counter("retort_loader_loads_total", "Load calls.", ("model", "result"), registry=registry)
        # Alert "model server not ready".
        self.ready = Gauge(
            "retort_loader_ready", "1 when every model has been tried and one answers.", registry=registry
        )
        # Alert "Triton down".
        self.triton_up = Gauge("retort_loader_triton_up", "1 when Triton's control API answers.", registry=registry)
