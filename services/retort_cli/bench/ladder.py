"""The ladder that a user climbs: the same server, from FP32 one text at a time to INT8, one step a rung."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from retort_cli.bench.errors import SkippedError
from retort_cli.bench.load import Row, summarise
from retort_cli.bench.rounds import Subject, measure
from retort_cli.bench.setup import Setup
from retort_cli.bench.stack import Server

# "Best Practices and Production Case Studies", sentiment service: batching 3.2x, connection pooling 1.2x, async 1.5x.
REFERENCE_PRODUCT = 5.8

FIRST = "FP32, one text a call, one call at a time"
BATCHED = "+ batching"
CONCURRENT = "+ concurrent calls and instances"
ONE_CALL = {"GATEWAY_BATCHES_IN_FLIGHT": "1"}


@dataclass(frozen=True)
class Rung:
    """`gain` is over the rung below."""

    row: Row
    gain: float


@dataclass(frozen=True)
class Ladder:
    """`product` is of all gains: the highest rung over the lowest. `base`: the lowest rungs' model server."""

    rungs: list[Rung]
    product: float
    base: str
    note: str


@dataclass(frozen=True)
class Base:
    """The lowest rung: one text a call, one call at a time, hence one busy instance."""

    name: str
    triton: Server
    gateway: Server


def run(setup: Setup) -> Ladder:
    """Measure every rung in turn, at one number of connections; SkippedError without the FP32 file."""
    if setup.fp32_name is None:
        raise SkippedError("the ladder needs the FP32 file")
    stack, fp32, busy = setup.stack, setup.fp32_name, setup.plan.busy
    base = _fastest_base(setup, fp32)
    batched = stack.gateway("ladder batched gateway", base.triton, fp32, **ONE_CALL)
    gateways = {FIRST: base.gateway, BATCHED: batched, CONCURRENT: setup.gateway}
    note = "the published file is the FP32 one, so there is no rung for INT8"
    if fp32 != setup.model.name:
        gateways[CONCURRENT] = stack.gateway("ladder concurrent gateway", setup.triton, fp32)
        gateways[f"+ INT8 ({setup.model.artefact})"] = setup.gateway
        note = ""
    subjects = [Subject(name, partial(setup.http.load, gateway.http)) for name, gateway in gateways.items()]
    loads = measure(subjects, [busy], setup.plan, setup.say)
    return climb([summarise(name, loads[name, busy]) for name in gateways], base.name, note)


def _fastest_base(setup: Setup, model: str) -> Base:
    """Return the lowest rung as served or with every core for one call, whichever is faster here.

    A base that a choice of ours makes slow would flatter every step above it: where the gateway shares the cores,
    threads that wait for each other can cost more than they bring. Never with a single instance: with the queue
    timeouts of config.pbtxt Triton's batcher then pauses for 500 ms again and again, which is no step of the ladder
    (seen with 2.51; most likely github.com/triton-inference-server/server/issues/8870).
    """
    servers = {"as served": setup.triton}
    if setup.cores > 1:
        name = f"{setup.cores} threads a call"
        servers[name] = setup.stack.model_server("ladder model server", THREADS=str(setup.cores))
    rates: dict[Base, float] = {}
    for name, triton in servers.items():
        gateway = setup.stack.gateway(f"ladder gateway {name}", triton, model, GATEWAY_BATCH_ROWS="1", **ONE_CALL)
        setup.http.load(gateway.http, setup.plan.busy, setup.plan.warmup_s)
        base = Base(name, triton, gateway)
        rates[base] = setup.http.load(gateway.http, setup.plan.busy, setup.plan.seconds).rps
        setup.say(f"the lowest rung, {name}: {rates[base]:.0f}/s")
    return max(rates, key=lambda base: rates[base])


def climb(rows: Sequence[Row], base: str, note: str = "") -> Ladder:
    """Return the rungs with their gains, lowest first."""
    below = [rows[0], *rows]
    rungs = [Rung(row, row.rps / before.rps if before.rps else 0.0) for before, row in zip(below, rows, strict=False)]
    return Ladder(rungs, rows[-1].rps / rows[0].rps if rows[0].rps else 0.0, base, note)
