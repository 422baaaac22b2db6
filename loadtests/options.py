"""The options of a run, on the command line or in the environment."""

from __future__ import annotations

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from loadtests.profile import SHAPES
from loadtests.thresholds import Thresholds

CORPUS = Path(__file__).with_name("support-tickets.txt")


def add_options(parser: ArgumentParser) -> None:
    """Declare them beside Locust's own; -u is the most requests in flight at once."""

    def add(option: str, what: str, **more: Any) -> None:
        variable = "RETORT_API_KEY" if option == "api-key" else f"LOADTEST_{option.replace('-', '_').upper()}"
        parser.add_argument(f"--{option}", env_var=variable, help=what, **more)

    # Locust's web page shows every option unless told; the key is a secret.
    add("api-key", "sent as Authorization: Bearer", default="", include_in_web_ui=False)
    add("model", "default: the one behind /predict, or the only one", default="")
    add("api", "HTTP only: /predict, or the Open Inference Protocol", default="predict", choices=("predict", "oip"))
    add("ca", "PEM file of who signed the server's certificate", default="")
    add("timeout-s", "a request that takes longer has failed", type=float, default=10.0)
    add("corpus", "file with one text a line", default=str(CORPUS))
    add("repeat-share", "part of the texts that were sent before", type=float, default=0.3)
    add("paraphrase-share", "part that are new, with a label that came up before", type=float, default=0.2)
    add("label-s", "seconds to label texts before the run, for paraphrases", type=float, default=8.0)
    add("words", "length of the texts, as 20 or 5-40; default: as they are", default="")
    add("batch-sizes", "texts a request, as 1,1,1,8; drawn evenly", default="1")
    add("rate", "requests a second, due whether or not others are answered (open loop)", type=float)
    add("shape", "of the load over the run", default="constant", choices=SHAPES)
    add("spike-factor", "how much more load the spike is", type=float, default=4.0)
    add("seed", "of the draws; default: the time, so that no run repeats the texts of another", type=int, default=0)
    add("report", "writes FILE.json and FILE.md", default="", metavar="FILE")
    add("p50-ms", "limit of the median; default: none", type=float)
    add("p95-ms", "limit of the 95th percentile", type=float, default=250.0)
    add("p99-ms", "limit of the 99th percentile", type=float, default=500.0)
    add("max-error-share", "0.01 is one in a hundred", type=float, default=0.001)
    add("max-shed-share", "of requests that are answered with 429", type=float, default=0.001)
    add("min-hit-rate", "part of the answers that come from the cache; default: none", type=float)
    add("min-rps", "answered requests a second; default: none", type=float)


def thresholds(options: Any) -> Thresholds:
    """Return those that the options state."""
    return Thresholds(
        options.p50_ms,
        options.p95_ms,
        options.p99_ms,
        options.max_error_share,
        options.max_shed_share,
        options.min_hit_rate,
        options.min_rps,
    )
