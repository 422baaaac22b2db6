"""wrk: the lightest closed-loop HTTP driver, told by a script of ours to send a different text every time.

wrk raises the latencies that it reports by an estimate of what it did not send while it waited (its `stats_correct`),
so its p95 and p99 lie above what other drivers say of the same answers.
"""

import json
import re
import shlex
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

from retort_cli.bench.driver import run_program
from retort_cli.bench.load import Load
from retort_cli.errors import CommandError

SCRIPT = """
wrk.method = "POST"
wrk.headers["content-type"] = "application/json"
local texts, number = {}, 0

function init(arguments)
  for line in io.lines(arguments[1]) do texts[#texts + 1] = line end
  number = tonumber(arguments[2])
end

function request()
  number = number + 1
  return wrk.format(nil, nil, nil, '{"text": "' .. texts[number % #texts + 1] .. ' ' .. number .. '"}')
end

function done(summary, latency)
  local errors = summary.errors
  io.write(string.format(
    'measured {"seconds": %f, "answered": %d, "refused": %d, "broken": %d, "p50": %f, "p95": %f, "p99": %f}\\n',
    summary.duration / 1e6, summary.requests, errors.status,
    errors.connect + errors.read + errors.write + errors.timeout,
    latency:percentile(50) / 1e3, latency:percentile(95) / 1e3, latency:percentile(99) / 1e3))
end
"""
NUMBERS_A_LOAD = 10_000_000


@dataclass(frozen=True)
class Wrk:
    """Drives /predict; one thread, which is enough for several times what a gateway answers."""

    folder: Path
    starts: "count[int]"
    name: str = "wrk"

    def load(self, port: int, connections: int, seconds: int) -> Load:
        """Keep `connections` requests in flight for `seconds`."""
        command = [
            *("wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--timeout", "10s", "-s", "texts.lua"),
            *(f"http://127.0.0.1:{port}/predict", "--", "texts.txt", str(next(self.starts))),
        ]
        output = run_program(command, self.folder, seconds + 30)
        return parse(output, shlex.join(command), connections)


def prepare(folder: Path, texts: Sequence[str]) -> Wrk | None:
    """Write what wrk reads into `folder`; None when there is no wrk."""
    if shutil.which("wrk") is None:
        return None
    (folder / "texts.lua").write_text(SCRIPT)
    (folder / "texts.txt").write_text("".join(json.dumps(text)[1:-1] + "\n" for text in texts))
    return Wrk(folder, count(0, NUMBERS_A_LOAD))


def parse(output: str, command: str, connections: int) -> Load:
    """Read the line that the script wrote."""
    line = re.search(r"^measured (\{.*\})$", output, re.MULTILINE)
    if line is None:
        raise CommandError(f"{command} printed no measurement, but: {output.strip()[-300:]}")
    found: dict[str, Any] = json.loads(line[1])
    return Load(
        driver="wrk",
        command=command,
        connections=connections,
        seconds=found["seconds"],
        requests=found["answered"] - found["refused"],
        errors=found["refused"] + found["broken"],
        p50_ms=found["p50"],
        p95_ms=found["p95"],
        p99_ms=found["p99"],
    )
