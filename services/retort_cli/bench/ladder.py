"""The ladder that a user climbs: the same server, from FP32 one text at a time to INT8, one step a rung."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from retort_cli.bench.errors import SkippedError
from retort_cli.bench.load import Row, summarise
from retort_cli.bench.rounds import Subject, measure
from retort_cli.bench.setup import Setup

# "Best Practices and Production Case Studies", sentiment service: batching 3.2x, connection pooling 1.2x, async 1.5x.
REFERENCE_PRODUCT = 5.8

FIRST = "FP32, one text a call, one call at a time"
BATCHED = "+ batching"
CONCURRENT = "+ concurrent calls and instances"


@dataclass(frozen=True)
class Rung:
    """`gain` is over the rung below."""

    row: Row
    gain: float


@dataclass(frozen=True)
class Ladder:
    """`product` is of all gains: the highest rung over the lowest."""

    rungs: list[Rung]
    product: float
    note: str


def run(setup: Setup) -> Ladder:
    """Measure every rung in turn, at one number of connections; SkippedError without the FP32 file."""
    if setup.fp32_name is None:
        raise SkippedError("the ladder needs the FP32 file")
    stack, fp32 = setup.stack, setup.fp32_name
    # One instance that has every core, as a single ONNX Runtime session has: all rungs own the same machine.
    single = stack.model_server("ladder model server", INSTANCES="1", THREADS=str(setup.cores))
    one_call = {"GATEWAY_BATCHES_IN_FLIGHT": "1"}
    gateways = {
        FIRST: stack.gateway("ladder first gateway", single, fp32, GATEWAY_BATCH_ROWS="1", **one_call),
        BATCHED: stack.gateway("ladder batched gateway", single, fp32, **one_call),
        CONCURRENT: setup.gateway,
    }
    note = "the published file is the FP32 one, so there is no rung for INT8"
    if fp32 != setup.model.name:
        gateways[CONCURRENT] = stack.gateway("ladder concurrent gateway", setup.triton, fp32)
        gateways[f"+ INT8 ({setup.model.artefact})"] = setup.gateway
        note = ""
    subjects = [Subject(name, partial(setup.http.load, gateway.http)) for name, gateway in gateways.items()]
    loads = measure(subjects, [setup.plan.busy], setup.plan, setup.say)
    return climb([summarise(name, loads[name, setup.plan.busy]) for name in gateways], note)


def climb(rows: Sequence[Row], note: str = "") -> Ladder:
    """Return the rungs with their gains, lowest first."""
    below = [rows[0], *rows]
    rungs = [Rung(row, row.rps / before.rps if before.rps else 0.0) for before, row in zip(below, rows, strict=False)]
    return Ladder(rungs, rows[-1].rps / rows[0].rps if rows[0].rps else 0.0, note)
