"""The comparison: the gateway beside Triton alone, beside a route that does nothing, and beside the bare runtime."""

from dataclasses import dataclass
from functools import partial
from statistics import median

from retort_cli.bench import ceiling
from retort_cli.bench.ceiling import Arrangement, Job
from retort_cli.bench.direct import Direct
from retort_cli.bench.load import Row, summarise
from retort_cli.bench.rounds import Subject, measure
from retort_cli.bench.setup import Setup
from retort_cli.bench.texts import numbered

GATEWAY = "gateway /predict"
DIRECT = "Triton gRPC, tokens"
NOOP = "no-op FastAPI route"
DIRECT_ROWS = 256
TRY_S = 0.5


@dataclass(frozen=True)
class Comparison:
    """`added_p50_ms`: the gateway's p50 less Triton's own at one connection, each with its driver."""

    ceiling_rps: float
    ceiling_by_round: list[float]
    arrangement: Arrangement
    rows: list[Row]
    added_p50_ms: float | None


def run(setup: Setup) -> Comparison:
    """Measure all of it, the ceiling once a round."""
    model, plan = setup.model, setup.plan
    noop = setup.stack.noop("no-op server")
    rows = model.tokenise(numbered(setup.texts, 0, DIRECT_ROWS))
    direct = Direct(setup.folder, model.name, model.manifest.version, rows)
    subjects = [
        Subject(GATEWAY, partial(setup.http.load, setup.gateway.http)),
        Subject(DIRECT, partial(direct.load, setup.triton.grpc)),
        Subject(NOOP, partial(setup.http.load, noop.http)),
    ]
    best = _best_arrangement(setup)
    ceilings: list[float] = []

    def reach_ceiling() -> None:
        ceilings.append(_ceiling(setup, best, plan.seconds))
        setup.say(f"bare runtime, no server: {ceilings[-1]:.0f}/s")

    loads = measure(subjects, plan.connections, plan, setup.say, reach_ceiling)
    top = median(ceilings)
    found = [summarise(name, loads[name, count], top) for count in plan.connections for name in _names(subjects)]
    return Comparison(top, ceilings, best, found, added_p50_ms(found, GATEWAY, DIRECT))


def added_p50_ms(rows: list[Row], of: str, over: str) -> float | None:
    """Return by how much the p50 of one row is above another's at one connection; None when either is missing."""
    alone = {row.name: row.p50_ms for row in rows if row.connections == 1}
    return alone[of] - alone[over] if alone.keys() >= {of, over} else None


def _names(subjects: list[Subject]) -> list[str]:
    return [subject.name for subject in subjects]


def _best_arrangement(setup: Setup) -> Arrangement:
    """Try every arrangement briefly; the rounds then measure the best one as long as everything else."""
    tried = ceiling.arrangements(setup.cores, setup.model.manifest.max_batch_size)
    rates = {arrangement: _ceiling(setup, arrangement, TRY_S) for arrangement in tried}
    return max(rates, key=lambda arrangement: rates[arrangement])


def _ceiling(setup: Setup, arrangement: Arrangement, seconds: float) -> float:
    model = setup.model
    job = Job(
        network=str(model.network.resolve()),
        tokenizer=str(model.tokenizer.resolve()),
        max_length=model.manifest.max_length,
        pad_id=model.manifest.pad_id,
        texts=setup.texts,
        batch_size=arrangement.batch_size,
        processes=arrangement.processes,
        threads=arrangement.threads,
        seconds=seconds,
    )
    return ceiling.run(job, setup.folder)
