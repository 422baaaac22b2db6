"""The report: a table a section, warnings first, and JSON that is JSON."""

import json
import math
from dataclasses import replace

import pytest

from retort_cli.bench.ceiling import Arrangement
from retort_cli.bench.compare import Comparison, added_p50_ms
from retort_cli.bench.doors import Doors
from retort_cli.bench.ladder import climb
from retort_cli.bench.load import Load, summarise
from retort_cli.bench.machine import Machine
from retort_cli.bench.open_loop import OpenLoop
from retort_cli.bench.plan import Plan
from retort_cli.bench.report import Report, Subject
from retort_cli.bench.soak import Sample, judge


def load(rps: int, *, connections: int = 1, p50: float = 1.0, errors: int = 0) -> Load:
    return Load("wrk", "wrk -c1", connections, 1.0, rps, errors, p50, 2.0, 3.0)


ROWS = [summarise("gateway", [load(500, p50=2.25)], 1000), summarise("Triton", [load(800, p50=1.5)], 1000)]
REPORT = Report(
    command="retort bench --quick",
    started_at="2026-01-01T00:00:00Z",
    subject=Subject("newt", 3, "sha256:aa", "static-qdq", 13.94),
    plan=Plan(5, 3, 1, (1,), 127, 20, 0),
    machine=Machine("CPU", 2, 8.0, "Linux", "3.11", {"fastapi": "1"}, {"wrk": "4"}, "abc", {}, 0.1),
    http_driver="wrk",
)


def test_each_row_has_its_share_of_the_ceiling() -> None:
    compared = Comparison(1000.0, [1000.0], Arrangement(2, 1, 16), ROWS, added_p50_ms(ROWS, "gateway", "Triton"))
    lines = replace(REPORT, compare=compared).as_markdown().splitlines()
    assert "| what    |  c | requests/s | of the ceiling | p50 ms | p95 ms | p99 ms | errors | driver |" in lines
    assert "| ------- | -: | ---------: | -------------: | -----: | -----: | -----: | -----: | ------ |" in lines
    assert "| gateway |  1 |        500 |           0.50 |   2.25 |   2.00 |   3.00 |      0 | wrk    |" in lines
    assert any("p50 is 0.75 ms above Triton's" in line for line in lines)


def test_an_added_p50_needs_both_at_one_connection() -> None:
    busy = [replace(row, connections=8) for row in ROWS]
    assert added_p50_ms(busy, "gateway", "Triton") is None
    assert added_p50_ms(ROWS, "gateway", "nothing") is None


def test_a_ladder_shows_gains_and_the_product() -> None:
    ladder = climb([summarise("first", [load(100)]), summarise("+ batching", [load(320)])], "as served", "no INT8")
    text = replace(REPORT, ladder=ladder).as_markdown()
    assert "| first      |  1 |        100 |     - |" in text
    assert "| + batching |  1 |        320 | 3.20x |" in text
    assert "Product 3.2x" in text
    assert "Note: no INT8." in text


def test_doors_open_loop_and_memory_are_told() -> None:
    report = replace(
        REPORT,
        doors=Doors(ROWS, {1: 0.934, 32: 1.2}, 0.5),
        open_loop=OpenLoop(127.0, ROWS[0], 50.0, is_met=False),
        soak=judge([Sample(10, 100.0), Sample(110, 101.25)], 0),
    )
    text = report.as_markdown()
    assert "gRPC door's rate as a share of /predict's: 0.93 at c=1, 1.20 at c=32." in text
    assert "p99 below 50 ms without errors: **no**." in text
    assert "100.0 MB after a warm-up of 10 requests, 101.2 MB after 100 more: +1.2 MB." in text


def test_what_is_wrong_comes_first() -> None:
    failing = summarise("gateway", [load(100, errors=4)])
    report = replace(
        REPORT,
        machine=replace(REPORT.machine, load_average=1.5),
        open_loop=OpenLoop(127.0, failing, 50.0, is_met=False),
        skipped={"doors": "h2load is not installed"},
        notes=["wrk is not installed"],
    )
    text = report.as_markdown()
    head = text[: text.index("## Open loop")]
    assert "**warning:** the load average was 1.50" in head
    assert "**warning:** wrk is not installed" in head
    assert "**warning:** gateway at 1 connections: 4 requests failed" in head
    assert "**skipped:** doors: h2load is not installed" in head


def test_the_json_has_everything_and_no_nan() -> None:
    silent = summarise("gateway", [replace(load(0), p50_ms=math.nan)])
    report = replace(REPORT, open_loop=OpenLoop(127.0, silent, 50.0, is_met=False))
    found = json.loads(report.as_json(), parse_constant=lambda name: pytest.fail(name))
    assert found["open_loop"]["row"]["p50_ms"] is None
    assert found["open_loop"]["row"]["command"] == "wrk -c1"
    assert found["compare"] is None
    assert found["machine"]["processor"] == "CPU"
    assert found["warnings"] == report.warnings
