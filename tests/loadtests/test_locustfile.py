"""The Locust file against a small gateway, over both protocols: what it sends, counts, and which runs it fails."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from tests.loadtests.fake_gateway import KEY, Gateway, http, over_grpc
from tests.loadtests.locust_process import Ended, locust

LOOSE = ("--p95-ms", "5000", "--p99-ms", "5000")
Serving = Callable[[Gateway], AbstractContextManager[str]]
BOTH = pytest.mark.parametrize("serving", [http, over_grpc])


def run(serving: Serving, gateway: Gateway, folder: Path, *options: str) -> Ended:
    """Run against `gateway` with the right key."""
    with serving(gateway) as url:
        return locust(url, folder, *LOOSE, *options, RETORT_API_KEY=KEY)


@BOTH
def test_a_good_run_passes_and_reports_what_the_gateway_told(serving: Serving, tmp_path: Path) -> None:
    gateway = Gateway(caches=True)
    ended = run(serving, gateway, tmp_path, "--repeat-share", "0.5", "--min-hit-rate", "0.3", "--p50-ms", "1000")
    assert ended.code == 0, ended.printed
    figures = ended.figures
    assert figures["answered"] == figures["requests"] == len(gateway.calls)
    assert figures["parts"]["server"]["queue"]["p50"] == 7
    assert figures["hit_rate"] == pytest.approx(figures["text_shares"]["repeat"], abs=0.02)
    assert figures["text_shares"]["repeat"] == pytest.approx(0.5, abs=0.15)
    assert set(figures["parts"]["cache"]) == {"exact", "miss"}
    markdown = (tmp_path / "reports/report.md").read_text()
    assert "passed" in markdown
    assert "| by x-cache: exact |" in markdown
    assert markdown in ended.printed


@BOTH
def test_a_paraphrase_is_another_text_with_a_label_that_came_before(serving: Serving, tmp_path: Path) -> None:
    gateway = Gateway()
    ended = run(serving, gateway, tmp_path, "--repeat-share", "0", "--paraphrase-share", "0.5", "-u", "1")
    assert ended.code == 0, ended.printed
    sent = [text for call in gateway.calls for text in call]
    assert len(set(sent)) == len(sent)  # never a text again
    labelled = [text for text in sent if text in set(gateway.bypassed)]  # and only those were labelled before
    shares = ended.figures["text_shares"]
    assert shares["paraphrase"] == pytest.approx(0.5, abs=0.15)
    assert len(labelled) == pytest.approx(len(sent) * shares["paraphrase"], abs=len(gateway.labels) + 2)


def test_texts_go_to_the_doors_that_the_options_name(tmp_path: Path) -> None:
    for options, paths in {
        (): {"/predict", "/v1/models/tickets/predict"},  # the latter for labels
        ("--paraphrase-share", "0"): {"/predict"},
        ("--paraphrase-share", "0", "--model", "other"): {"/v1/models/other/predict"},
        ("--batch-sizes", "3", "--words", "4"): {"/v1/models/tickets/predict"},
        ("--api", "oip"): {"/v2/models/tickets/infer"},
    }.items():
        gateway = Gateway()
        assert run(http, gateway, tmp_path, "-t", "1s", *options).code == 0
        assert gateway.paths == paths
    gateway = Gateway()
    run(http, gateway, tmp_path, "--batch-sizes", "3", "--words", "4")
    assert {len(call) for call in gateway.calls} == {3}
    assert {len(text.split()) for call in gateway.calls for text in call} == {4}


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (("--p50-ms", "0.1"), "ms, allowed are 0.1 ms"),
        (("--p95-ms", "0.1"), "p95 is"),
        (("--p99-ms", "0.1"), "p99 is"),
        (("--min-rps", "1000000"), "requests a second were answered, wanted are at least 1e+06"),
        (("--min-hit-rate", "0.5"), "there is no cache"),
    ],
)
def test_a_missed_threshold_fails_the_run(options: tuple[str, ...], complaint: str, tmp_path: Path) -> None:
    ended = run(http, Gateway(), tmp_path, "-t", "1s", *options)
    assert ended.code == 1
    assert any("threshold broken: " in line and complaint in line for line in ended.printed.splitlines())
    assert not ended.report["passed"]
    assert complaint in ended.report["broken"][0]


@BOTH
def test_errors_and_shed_requests_fail_the_run_beyond_their_own_shares(serving: Serving, tmp_path: Path) -> None:
    fails, sheds = Gateway(fails_every=3), Gateway(fails_every=3, fails_with=429)
    failed = run(serving, fails, tmp_path, "--max-shed-share", "1")
    assert failed.code == 1
    assert "of the requests failed, allowed are 0.10%" in failed.printed
    assert failed.printed.count("not now") == 1  # one line of Locust's, however many failed
    shed = run(serving, sheds, tmp_path, "--max-error-share", "1")
    assert shed.code == 1
    assert "of the requests were shed (429), allowed are 0.10%" in shed.printed
    assert shed.figures["shed"] == pytest.approx(shed.figures["requests"] / 3, abs=1)
    assert shed.figures["failed"] == 0
    assert run(serving, fails, tmp_path, "--max-error-share", "0.9").code == 0
    assert run(serving, sheds, tmp_path, "--max-shed-share", "0.9").code == 0


def test_a_request_that_is_too_large_is_no_shed_one(tmp_path: Path) -> None:
    for serving in (http, over_grpc):
        assert run(serving, Gateway(fails_every=2, fails_with=413), tmp_path, "-t", "1s").figures["shed"] == 0


def test_a_200_without_an_answer_is_an_error(tmp_path: Path) -> None:
    gateway = Gateway(answer={"detail": "hello"})
    ended = run(http, gateway, tmp_path, "--paraphrase-share", "0")
    assert ended.code == 1
    assert "100.00% of the requests failed" in ended.printed


@BOTH
def test_an_open_loop_counts_the_wait_of_a_stall(serving: Serving, tmp_path: Path) -> None:
    closed = run(serving, Gateway(stalls_s=1.5), tmp_path, "-t", "3s")
    gateway = Gateway(stalls_s=1.5)
    ended = run(serving, gateway, tmp_path, "-t", "3s", "--rate", "50")
    assert closed.figures["latency"]["p95"] < 500  # two customers waited, and nobody counted who did not come
    # Half of the requests were due within the stall, and the last of them waited least.
    assert ended.figures["latency"]["p95"] > 1000
    assert ended.figures["requests"] == pytest.approx(150, abs=3)
    assert len(gateway.calls) == pytest.approx(150, abs=3)
    assert ended.figures["parts"]["client"]["sent late by"]["max"] > 1000


def test_what_was_due_and_never_sent_has_failed(tmp_path: Path) -> None:
    ended = run(http, Gateway(takes_s=0.2), tmp_path, "--rate", "100", "-t", "2s")
    assert ended.code == 1
    assert "were due while every user waited for an answer" in ended.printed
    assert ended.figures["requests"] == pytest.approx(200, abs=5)
    assert ended.figures["unsent"] == pytest.approx(180, abs=5)


def test_a_slow_request_fails_and_is_not_lost_at_the_end(tmp_path: Path) -> None:
    ended = run(http, Gateway(takes_s=5), tmp_path, "--timeout-s", "2", "-t", "1s", "--paraphrase-share", "0")
    assert ended.code == 1
    assert ended.figures["failed"] == 2


def test_a_spike_is_a_spike(tmp_path: Path) -> None:
    options = ("-t", "3s", "--shape", "spike", "--spike-factor", "5")
    open_loop = run(http, Gateway(), tmp_path, *options, "--rate", "20", "-u", "20", "-r", "20")
    assert open_loop.figures["requests"] == pytest.approx(20 + 100 + 20, abs=3)
    closed = run(http, Gateway(takes_s=0.1), tmp_path, *options)
    assert closed.code == 0
    assert closed.figures["requests"] > 1.5 * 2 * 3 / 0.1  # two customers without a spike come to 60


def test_processes_share_the_work_and_the_tally_is_whole(tmp_path: Path) -> None:
    gateway = Gateway()
    ended = run(
        http,
        gateway,
        tmp_path,
        "--processes",
        "2",
        "--rate",
        "60",
        "-t",
        "3s",
        "--repeat-share",
        "0",
        "-u",
        "8",
        "-r",
        "8",
    )
    assert ended.code == 0, ended.printed
    assert ended.figures["answered"] == len(gateway.calls)
    texts = [text for call in gateway.calls for text in call]
    assert len(set(texts)) == len(texts)  # each process has texts of its own


@BOTH
def test_a_wrong_key_nobody_there_and_several_models_are_one_sentence(serving: Serving, tmp_path: Path) -> None:
    with serving(Gateway()) as url:
        wrong = locust(url, tmp_path, RETORT_API_KEY="wrong")
    nobody = locust(url, tmp_path)
    unlabelled = run(serving, Gateway(labels=("",)), tmp_path)
    several = run(serving, Gateway(models=("a", "b")), tmp_path)
    for ended, sentence in (
        (wrong, "an API key is needed"),
        (nobody, url),
        (several, "2 models answer (a, b)"),
        (unlabelled, "the model gives no labels"),
    ):
        assert ended.code == 1
        assert sentence in ended.printed
        assert "load test: " in ended.printed
        assert "Traceback" not in ended.printed


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (("--host", "ftp://x"), "--host must be"),
        (("--repeat-share", "0.9"), "shares must not"),
        (("--batch-sizes", "0"), "--batch-sizes must"),
        (("--words", "9-3"), "--words must"),
        (("--rate", "0"), "must be more than 0"),
        (("--corpus", "nowhere.txt"), "nowhere.txt cannot be read"),
    ],
)
def test_an_option_that_cannot_be_is_one_sentence(options: tuple[str, ...], sentence: str, tmp_path: Path) -> None:
    ended = locust("http://127.0.0.1:1", tmp_path, *options)
    assert ended.code == 1
    assert f"load test: {sentence}" in ended.printed or sentence in ended.printed
    assert "Traceback" not in ended.printed
