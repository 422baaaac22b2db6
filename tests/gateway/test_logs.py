"""Logs: one JSON object a line."""

import json
import logging
import sys

from gateway.logs import JsonFormatter


def test_a_record_is_one_line_of_json() -> None:
    record = logging.LogRecord("gateway", logging.INFO, "f.py", 1, "hello %s", ("w\n",), None)
    record.fields = {"request_id": "r1", "ms": 1.5}
    line = JsonFormatter().format(record)
    assert "\n" not in line
    found = json.loads(line)
    assert (found["message"], found["level"], found["request_id"], found["ms"]) == ("hello w\n", "info", "r1", 1.5)


def test_a_trace_is_part_of_the_line() -> None:
    try:
        int("inside")
    except ValueError:
        record = logging.LogRecord("gateway", logging.ERROR, "f.py", 1, "failed", (), sys.exc_info())
    assert "ValueError: invalid literal" in json.loads(JsonFormatter().format(record))["trace"]
