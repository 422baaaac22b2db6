"""The export: a collector that is dead or silent costs spans and a line of log, nothing else."""

import logging
import time

import pytest

from gateway import otlp
from gateway.call import Call
from gateway.otlp import OtlpExport
from gateway.trace_context import TraceContext
from tests.gateway.collector import collector, silent_collector


def put(export: OtlpExport, times: int, status: int = 200) -> None:
    """Queue the span of some calls."""
    for _ in range(times):
        trace = TraceContext(1, 0, "", is_sampled=True)
        export.put(Call("r1", {}), trace, "POST", status)


def complaints(caplog: pytest.LogCaptureFixture) -> list[str]:
    """What was logged about lost spans."""
    return [record.getMessage() for record in caplog.records if record.name == "gateway.otlp"]


async def test_a_silent_collector_holds_up_neither_put_nor_the_end(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(otlp, "MAX_QUEUED_SPANS", 100)
    monkeypatch.setattr(otlp, "BATCH_SPANS", 50)
    monkeypatch.setattr(otlp, "FLUSH_S", 0.3)
    with silent_collector() as url:
        export = OtlpExport(f"{url}/v1/traces", "1.0")
        started_s = time.monotonic()
        put(export, 1000)  # far more than the queue holds
        assert time.monotonic() - started_s < 2  # one export that is waited for takes EXPORT_TIMEOUT_S, 5 s
        started_s = time.monotonic()
        await export.close()
        assert time.monotonic() - started_s < 2
    full, lost = complaints(caplog)
    assert "Queue full" in full
    assert "did not take the last spans" in lost


async def test_complaints_are_one_line_a_minute(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(otlp, "EXPORT_TIMEOUT_S", 0.1)
    export = OtlpExport("http://127.0.0.1:1/v1/traces", "1.0")
    for _ in range(3):
        put(export, 1)
        export._queue.force_flush()  # each one fails and complains
    assert len(complaints(caplog)) == 1
    assert "Failed to export" in complaints(caplog)[0]
    assert not any(record.name.startswith("opentelemetry") for record in caplog.records)
    monkeypatch.setattr(otlp, "COMPLAIN_EVERY_S", 0)
    logging.getLogger("opentelemetry").handlers[0]._next_s = 0  # type: ignore[attr-defined]  # a minute later
    put(export, 1)
    export._queue.force_flush()
    assert len(complaints(caplog)) == 2
    await export.close()


async def test_what_is_queued_at_the_end_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=staging")
    with collector() as received:
        export = OtlpExport(f"{received.url}/v1/traces", "1.0")
        put(export, 600)  # more than a batch
        await export.close()
        assert len(received.spans) == 600
    assert received.resource["service.name"] == "retort-gateway"
    assert received.resource["service.version"] == "1.0"
    assert received.resource["deployment.environment.name"] == "staging"


async def test_the_operators_service_name_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_SERVICE_NAME", "mine")
    with collector() as received:
        export = OtlpExport(f"{received.url}/v1/traces", "1.0")
        put(export, 1)
        await export.close()
    assert received.resource["service.name"] == "mine"


@pytest.mark.parametrize(("status", "code"), [(200, 0), (404, 0), (429, 0), (499, 0), (500, 2), (503, 2), (504, 2)])
async def test_a_span_is_in_error_from_500_on(status: int, code: int) -> None:
    with collector() as received:
        export = OtlpExport(f"{received.url}/v1/traces", "1.0")
        put(export, 1, status)
        await export.close()
    assert received.spans[0].status.code == code
