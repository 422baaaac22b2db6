"""Tests of training/served.py against a small HTTP server."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from training import served
from training.data import Split

SPLIT = Split("test", ("good one", "bad one", "good two", "bad two", "odd"), (1, 0, 1, 0, 0))
LABELS = ("negative", "positive")


class Answers(BaseHTTPRequestHandler):
    """Labels a text by its first word; knows one model and one key."""

    seen: list[int]

    def do_POST(self) -> None:
        texts = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["inputs"]
        known = self.path == "/v1/models/m/predict" and self.headers["Authorization"] == "Bearer k"
        self.seen.append(len(texts))
        body = json.dumps(
            [{"label": "negative" if text.startswith("bad") else "positive", "score": 1.0} for text in texts]
            if known
            else {"error": "no such model"}
        ).encode()
        self.send_response(200 if known else 404)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def url() -> Iterator[str]:
    """A server on a free port."""
    Answers.seen = []
    with ThreadingHTTPServer(("127.0.0.1", 0), Answers) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_every_text_is_sent_once_and_judged(url: str) -> None:
    gateway = served.Gateway(url, "m", "k")
    assert served.accuracy(gateway, SPLIT, LABELS, rows=2, connections=2) == pytest.approx(0.8)
    assert sorted(Answers.seen) == [1, 2, 2]


def test_an_error_of_the_gateway_is_told(url: str) -> None:
    with pytest.raises(served.ServedError, match=r"/v1/models/other/predict answered 404: .*no such model"):
        served.Gateway(url, "other", "k").labels(["x"])


def test_a_gateway_that_is_not_there_is_told(url: str) -> None:
    gone = url.rpartition(":")[0] + ":1"
    with pytest.raises(served.ServedError, match="gave no answer"):
        served.Gateway(gone, "m", "k").labels(["x"])


def write(path: Path, rows: list[tuple[str, int]]) -> None:
    """A tab-separated file without header."""
    path.write_text("".join(f"{text}\t{label}\n" for text, label in rows))


@pytest.mark.parametrize(("recorded", "flips", "status"), [(0.8, 0.0, 0), (0.6, 0.0, 1), (0.7, 0.15, 0)])
def test_the_command_compares_with_the_manifest(
    url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], recorded: float, flips: float, status: int
) -> None:
    version = tmp_path / "repository" / "m" / "3"
    version.mkdir(parents=True)
    (version.parent / "stable.json").write_text('{"version": 3, "digest": ""}')
    (version / "manifest.json").write_text(json.dumps({"quality": {"published": recorded}, "batch_flip_rate": flips}))
    write(tmp_path / "train.tsv", [("x", 0), ("y", 1)])
    write(tmp_path / "test.tsv", list(zip(SPLIT.texts, SPLIT.labels, strict=True)))
    config = tmp_path / "c.toml"
    config.write_text(
        f'model = "m"\n[data]\nsource = "{tmp_path}"\ntext = 0\nlabel = 1\n'
        'names = { 0 = "negative", 1 = "positive" }\n'
    )
    arguments = [str(config), "--url", url, "--key", "k", "--repository", str(tmp_path / "repository")]
    assert served.main(arguments) == status
    assert f"accuracy 0.8000, the manifest says {recorded:.4f}" in capsys.readouterr().out


def test_a_repository_without_the_model_is_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = tmp_path / "c.toml"
    config.write_text('model = "m"\n[data]\nsource = "demo"\n')
    assert served.main([str(config), "--repository", str(tmp_path)]) == 1
    assert "holds no readable stable version of m" in capsys.readouterr().err
