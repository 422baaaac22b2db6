"""Rounds: subjects measured in turn, warm before each measurement, another one first every round."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from retort_cli.bench.load import Load
from retort_cli.bench.plan import Plan

T = TypeVar("T")
Loads = dict[tuple[str, int], list[Load]]


@dataclass(frozen=True)
class Subject:
    """What is measured; `load(connections, seconds)` measures it once."""

    name: str
    load: Callable[[int, int], Load]


def measure(
    subjects: Sequence[Subject],
    connections: Iterable[int],
    plan: Plan,
    say: Callable[[str], None],
    after_round: Callable[[], None] = lambda: None,
) -> Loads:
    """Return the loads of every subject and number of connections, round by round.

    The subjects of one line are measured within seconds of each other: what the machine does meanwhile, all feel.
    """
    loads: Loads = defaultdict(list)
    for number in range(plan.rounds):
        for count in connections:
            for subject in turned(subjects, number):
                subject.load(count, plan.warmup_s)
                load = subject.load(count, plan.seconds)
                say(
                    f"round {number + 1}/{plan.rounds}  c={count:<3}  {subject.name}: {load.rps:.0f}/s, "
                    f"p50 {load.p50_ms:.2f} ms, p99 {load.p99_ms:.2f} ms, {load.errors} errors"
                )
                loads[subject.name, count].append(load)
        after_round()
    return loads


def turned(items: Sequence[T], number: int) -> list[T]:
    """Return the items with the one at `number` first."""
    start = number % len(items)
    return [*items[start:], *items[:start]]
