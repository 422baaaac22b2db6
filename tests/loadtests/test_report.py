"""The report says everything twice: for programs and for people."""

import json
from pathlib import Path

from loadtests.report import Report
from loadtests.thresholds import Thresholds
from tests.loadtests.test_thresholds import GOOD


def test_both_files_are_written_where_asked(tmp_path: Path) -> None:
    report = Report({"url": "http://host", "seed": 7}, GOOD, Thresholds(p99_ms=1), ["p99 is 20.0 ms"])
    report.write(tmp_path / "new/run.json")
    written = json.loads((tmp_path / "new/run.json").read_text())
    assert written["passed"] is False
    assert written["broken"] == ["p99 is 20.0 ms"]
    assert written["run"]["seed"] == 7
    assert written["thresholds"]["p99_ms"] == 1
    assert written["figures"]["latency"]["p95"] == 9
    assert (written["figures"]["rps"], written["figures"]["hit_rate"]) == (100, 0.3)
    page = (tmp_path / "new/run.md").read_text().splitlines()
    assert page[0] == "# Load test of http://host: failed"
    assert "- **p99 is 20.0 ms**" in page
    assert "| by x-cache: exact | 300 | 1.00 | 1.00 | 1.00 | 1.00 | 1.00 |" in page


def test_a_missing_cache_is_said() -> None:
    report = Report({"url": "http://host"}, GOOD, Thresholds(), [])
    assert "30.00% of the answers came from the cache" in report.as_markdown()
    without = Report(
        {"url": "http://host"}, type(GOOD)(1, 1, 0, 0, 0, GOOD.latency, {}, {"fresh": 1}), Thresholds(), []
    )
    assert "no cache: no answer had" in without.as_markdown()
