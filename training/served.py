"""Accuracy as customers get it: the test split through a running gateway, beside the manifest's figure."""

import argparse
import json
import os
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tqdm import tqdm

from training import config, data
from training.errors import TrainingError

TIMEOUT_S = 30.0
ROUNDING = 1e-9


class ServedError(TrainingError):
    """The gateway does not answer as it should."""


@dataclass(frozen=True)
class Gateway:
    """Where the model is served; `key` may be empty."""

    url: str
    model: str
    key: str

    def labels(self, texts: Sequence[str]) -> list[str]:
        """Return the predicted label of each text; raises ServedError."""
        request = urllib.request.Request(  # noqa: S310 - the user names the URL
            f"{self.url.rstrip('/')}/v1/models/{self.model}/predict",
            data=json.dumps({"inputs": list(texts)}).encode(),
            headers={"Content-Type": "application/json"}
            | ({"Authorization": f"Bearer {self.key}"} if self.key else {}),
        )
        try:
            with urllib.request.urlopen(request, timeout=TIMEOUT_S) as answer:  # noqa: S310
                found: list[dict[str, Any]] = json.load(answer)
        except urllib.error.HTTPError as error:
            raise ServedError(f"{request.full_url} answered {error.code}: {error.read()[:300].decode()}") from error
        except (OSError, json.JSONDecodeError) as error:
            raise ServedError(f"{request.full_url} gave no answer: {error}") from error
        return [item["label"] for item in found]


def accuracy(gateway: Gateway, split: data.Split, labels: Sequence[str], *, rows: int, connections: int) -> float:
    """Send the split, `rows` texts a request over several connections, and return the share labelled right."""
    chunks = [split.texts[start : start + rows] for start in range(0, len(split), rows)]
    with ThreadPoolExecutor(connections) as pool:
        answers = tqdm(pool.map(gateway.labels, chunks), total=len(chunks), desc=gateway.model, unit="request")
        found = [label for chunk in answers for label in chunk]
    right = sum(answer == labels[truth] for answer, truth in zip(found, split.labels, strict=True))
    return right / len(split)


@dataclass(frozen=True)
class Recorded:
    """What the stable version's manifest says; `flip_rate` is how much answers may depend on their batch."""

    accuracy: float
    flip_rate: float


def recorded(repository: Path, model: str) -> Recorded:
    """Read the manifest of the stable version; raises ServedError."""
    try:
        stable = json.loads((repository / model / "stable.json").read_text())
        manifest = json.loads((repository / model / str(stable["version"]) / "manifest.json").read_text())
        return Recorded(float(manifest["quality"]["published"]), float(manifest["batch_flip_rate"]))
    except (OSError, ValueError, KeyError) as error:
        raise ServedError(f"{repository} holds no readable stable version of {model}: {error}") from error


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line: exit status 0 if the served accuracy is the recorded one (up to the recorded flip rate)."""
    parser = argparse.ArgumentParser(prog="python -m training.served", description=__doc__)
    parser.add_argument("config", type=Path)
    parser.add_argument("--url", default="http://127.0.0.1:8080")
    parser.add_argument(
        "--repository", type=Path, default=Path(os.environ.get("RETORT_MODEL_REPOSITORY", "model-repo"))
    )
    parser.add_argument("--key", default="", help="API key, if the gateway asks for one")
    parser.add_argument("--rows", type=int, default=1, help="texts a request (default: %(default)s)")
    parser.add_argument("--connections", type=int, default=8, help="default: %(default)s")
    given = parser.parse_args(arguments)
    try:
        wanted = config.load(given.config)
        dataset = data.load(wanted.data, wanted.seed)
        expected = recorded(given.repository, wanted.model)
        started = time.perf_counter()
        gateway = Gateway(given.url, wanted.model, given.key)
        measured = accuracy(gateway, dataset.test, dataset.labels, rows=given.rows, connections=given.connections)
    except TrainingError as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    seconds = time.perf_counter() - started
    sys.stdout.write(
        f"{wanted.model}: {len(dataset.test)} texts of the {wanted.data.test} split through {given.url}: accuracy "
        f"{measured:.4f}, the manifest says {expected.accuracy:.4f} ({seconds:.1f} s)\n"
    )
    return 0 if abs(measured - expected.accuracy) <= expected.flip_rate + ROUNDING else 1


if __name__ == "__main__":
    sys.exit(main())
