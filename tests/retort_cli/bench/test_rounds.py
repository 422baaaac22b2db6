"""Rounds: everything in turn, warm first, another subject first every round."""

from retort_cli.bench.load import Load
from retort_cli.bench.plan import Plan
from retort_cli.bench.rounds import Subject, measure, turned


def test_the_one_at_the_number_comes_first() -> None:
    assert [turned("abc", number) for number in range(4)] == [list("abc"), list("bca"), list("cab"), list("abc")]


def test_subjects_take_turns_and_warm_up() -> None:
    calls: list[str] = []
    said: list[str] = []

    def subject(name: str) -> Subject:
        def load(connections: int, seconds: int) -> Load:
            calls.append(f"{name}{connections}{'w' if seconds == 1 else ''}")
            return Load("d", "c", connections, seconds, len(calls), 0, 1, 1, 1)

        return Subject(name, load)

    plan = Plan(seconds=5, rounds=2, warmup_s=1, connections=(1, 8), open_loop_rate=1, open_loop_s=1, soak_requests=0)
    found = measure([subject("a"), subject("b")], plan.connections, plan, said.append, lambda: calls.append("|"))
    assert " ".join(calls) == "a1w a1 b1w b1 a8w a8 b8w b8 | b1w b1 a1w a1 b8w b8 a8w a8 |"
    assert len(said) == 8
    assert [load.requests for load in found["a", 1]] == [2, 13]  # the warm-up's loads are not kept
    assert found.keys() == {("a", 1), ("b", 1), ("a", 8), ("b", 8)}
