"""`retort bench`: start what is measured, measure it section by section, write what was found."""

import argparse
import os
import shlex
import signal
import sys
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from statistics import fmean
from tempfile import TemporaryDirectory
from types import FrameType
from typing import Any

from retort_cli.bench import compare, doors, ladder, machine, open_loop, soak, texts, wrk
from retort_cli.bench.errors import SkippedError
from retort_cli.bench.model import Model, find, find_fp32, lay_out
from retort_cli.bench.plan import Plan
from retort_cli.bench.report import Report, Subject
from retort_cli.bench.setup import Setup
from retort_cli.bench.sockets import Sockets
from retort_cli.bench.stack import Stack
from retort_cli.up import check_model_server

SECTIONS: dict[str, Callable[[Setup], Any]] = {
    "compare": compare.run,
    "doors": doors.run,
    "ladder": ladder.run,
    "open_loop": open_loop.run,
    "soak": soak.run,
}
CONNECTIONS = (1, 8, 32, 128)
NO_WRK = "wrk is not installed: a driver in Python takes its place, and a good part of the processor"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    repository = os.environ.get("RETORT_MODEL_REPOSITORY") or "model-repo"
    parser.add_argument("--repository", type=Path, default=Path(repository), help="default: %(default)s")
    parser.add_argument("--model", help="default: minilm6-int8 if there is one, else the first")
    parser.add_argument(
        "--fp32", type=Path, metavar="FILE", help="for the ladder; default: what training left in runs/"
    )
    parser.add_argument("--texts", type=Path, metavar="FILE", help="one a line; default: 16 everyday sentences")
    parser.add_argument("--quick", action="store_true", help="a look: 1 second, 1 round, where the options say nothing")
    parser.add_argument("--seconds", type=_positive, metavar="N", help="of each measurement; default: 5")
    parser.add_argument("--rounds", type=_positive, metavar="N", help="of which medians are taken; default: 3")
    parser.add_argument("--connections", type=_positive, nargs="+", default=CONNECTIONS, metavar="N")
    parser.add_argument("--rate", type=_rate, default=open_loop.RATE, help="of the open loop; default: %(default)g/s")
    parser.add_argument(
        "--only",
        nargs="+",
        choices=[name for name in SECTIONS if name != "soak"],
        metavar="SECTION",
        help="some of %(choices)s",
    )
    parser.add_argument(
        "--soak", type=_positive, nargs="?", const=soak.REQUESTS, metavar="N", help="requests; without N 300,000"
    )
    parser.add_argument("--output", type=Path, default=Path("runs/bench"), help="folder; default: %(default)s")


def run(arguments: argparse.Namespace) -> int:
    """Measure, write the report, print it; returns 130 after Ctrl-C or SIGTERM, which leave nothing running."""
    signal.signal(signal.SIGTERM, _interrupt)
    signal.signal(signal.SIGINT, _interrupt)
    try:
        report = _bench(arguments)
    except KeyboardInterrupt:
        print("retort: the benchmark was interrupted; nothing was written", file=sys.stderr)
        return 130
    path = arguments.output / f"{report.started_at.replace(':', '')}.json"
    path.write_text(report.as_json())
    path.with_suffix(".md").write_text(report.as_markdown())
    print(report.as_markdown())
    print(f"written: {path} and {path.with_suffix('.md')}")
    return 0


def _bench(arguments: argparse.Namespace) -> Report:
    facts = machine.look()  # first: the load average is to be what others leave us
    started_at = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    wanted = [name for name in SECTIONS if name in (arguments.only or SECTIONS) and (name != "soak" or arguments.soak)]
    if arguments.soak and "soak" not in wanted:
        wanted.append("soak")
    plan, sentences = _plan(arguments), texts.read(arguments.texts)
    model = find(arguments.repository, arguments.model)
    check_model_server()
    arguments.output.mkdir(parents=True, exist_ok=True)  # now, not after minutes of measuring
    skipped: dict[str, str] = {}
    fp32 = _fp32(model, arguments.fp32, skipped) if "ladder" in wanted else None
    with TemporaryDirectory(prefix="retort-bench-") as scratch:
        folder = Path(scratch)
        fp32_name = lay_out(model, folder / "model-repo", fp32)
        with Stack(folder / "model-repo", arguments.output / "logs") as stack:
            setup = _setup(plan, model, sentences, facts.cores, fp32_name, folder, stack)
            found = _measure(setup, [name for name in wanted if name not in skipped], skipped)
    lengths = [len(ids) for ids in model.tokenise(texts.numbered(sentences, 0, 256))]
    manifest = model.manifest
    return Report(
        command=shlex.join(["retort", *sys.argv[1:]]),
        started_at=started_at,
        subject=Subject(model.name, manifest.version, manifest.digest, model.artefact, fmean(lengths)),
        plan=plan,
        machine=facts,
        http_driver=setup.http.name,
        skipped=skipped,
        notes=[NO_WRK] if isinstance(setup.http, Sockets) else [],
        **found,
    )


def _measure(setup: Setup, wanted: Sequence[str], skipped: dict[str, str]) -> dict[str, Any]:
    """Return what the sections found, by name; those that lack something here go into `skipped`."""
    found = {}
    for name in wanted:
        setup.say(f"{name} ...")
        try:
            found[name] = SECTIONS[name](setup)
        except SkippedError as error:
            skipped[name] = str(error)
    return found


def _plan(arguments: argparse.Namespace) -> Plan:
    seconds = arguments.seconds or (1 if arguments.quick else 5)
    return Plan(
        seconds=seconds,
        rounds=arguments.rounds or (1 if arguments.quick else 3),
        warmup_s=1,
        connections=tuple(sorted(set(arguments.connections))),
        open_loop_rate=arguments.rate,
        open_loop_s=4 * seconds,  # a p99 needs some hundreds of requests
        soak_requests=arguments.soak or 0,
    )


def _fp32(model: Model, given: Path | None, skipped: dict[str, str]) -> Path | None:
    try:
        return find_fp32(model, given, Path("runs"))
    except SkippedError as error:
        skipped["ladder"] = str(error)
        return None


def _setup(
    plan: Plan, model: Model, sentences: list[str], cores: int, fp32_name: str | None, folder: Path, stack: Stack
) -> Setup:
    _say("starting the model server and the gateway ...")
    triton = stack.model_server("model server")
    sockets = Sockets(folder, sentences, count(0, wrk.NUMBERS_A_LOAD))
    return Setup(
        plan=plan,
        model=model,
        texts=sentences,
        cores=cores,
        fp32_name=fp32_name,
        folder=folder,
        stack=stack,
        triton=triton,
        gateway=stack.gateway("gateway", triton, model.name),
        http=wrk.prepare(folder, sentences) or sockets,
        sockets=sockets,
        say=_say,
    )


def _positive(text: str) -> int:
    if not text.isascii() or not text.isdigit() or not int(text):
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of 1 or more")
    return int(text)


def _rate(text: str) -> float:
    try:
        rate = float(text)
    except ValueError:
        rate = 0.0
    if not 0 < rate < 1e6:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of requests a second")
    return rate


def _interrupt(_signal: int, _frame: FrameType | None) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # a second Ctrl-C must not interrupt the ending
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    raise KeyboardInterrupt


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
