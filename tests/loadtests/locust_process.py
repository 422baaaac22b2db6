"""Locust as a user starts it, in a process of its own: it patches every socket of the process that imports it."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

LOCUSTFILE = Path(__file__).parents[2] / "loadtests/locustfile.py"


@dataclass(frozen=True)
class Ended:
    """Exit code, everything that was printed, and the report (empty when none was written)."""

    code: int
    printed: str
    report: Mapping[str, Any]

    @property
    def figures(self) -> Mapping[str, Any]:
        """The report's figures."""
        assert self.report, self.printed
        return dict(self.report["figures"])


def locust(url: str, folder: Path, *options: str, **environment: str) -> Ended:
    """Run in `folder`, for a second unless told otherwise, labelling for half of one."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("LOCUST_", "LOADTEST_"))}
    report = folder / "reports/report"
    report.with_suffix(".json").unlink(missing_ok=True)
    ended = subprocess.run(
        [
            *(sys.executable, "-m", "locust", "-f", str(LOCUSTFILE), "--headless", "--only-summary", "--host", url),
            *("-u", "2", "-r", "2", "-t", "1s", "--label-s", "0.5", "--report", str(report), *options),
        ],
        env={**inherited, "OMP_NUM_THREADS": "1", **environment},
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    written = report.with_suffix(".json")
    found = json.loads(written.read_text()) if written.exists() else {}
    return Ended(ended.returncode, ended.stdout + ended.stderr, found)
