"""Metrics keep the product's rules for names and labels."""

from prometheus_client.metrics import MetricWrapperBase

from gateway.metrics import LabelCache, Metrics, SupervisorMetrics

LABELS = {"model", "version", "cohort", "route", "code", "tier", "result", "upstream", "class", "bin", "step", "reason"}
LABELS |= {"digest"}  # the identity of a version, in retort_model_info only
SUFFIXES = (
    "_total",
    "_seconds",
    "_bytes",
    "_ratio",
    "_rows",
    "_requests",
    "_depth",
    "_up",
    "_breaker",
    "_info",
    "_versions",
    "_workers",
)


def test_names_and_labels() -> None:
    every = [*vars(Metrics()).values(), *vars(SupervisorMetrics()).values()]
    made = [metric for metric in every if isinstance(metric, MetricWrapperBase)]
    assert len(made) >= 12
    for metric in made:
        described = next(iter(metric.describe()))
        name = described.name + ("_total" if described.type == "counter" else "")
        assert name.startswith("retort_"), name
        assert name.endswith(SUFFIXES), name
        assert set(metric._labelnames) <= LABELS, name


def test_two_gateways_in_one_process_do_not_collide() -> None:
    first, second = Metrics(), Metrics()
    LabelCache(first).answered(route="r", model="m", version="1", cohort="c", code="200", seconds=0.1)
    labels = {"route": "r", "model": "m", "version": "1", "cohort": "c", "code": "200"}
    assert first.registry.get_sample_value("retort_requests_total", labels) == 1
    assert second.registry.get_sample_value("retort_requests_total", labels) is None
