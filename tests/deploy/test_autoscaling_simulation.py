"""The simulation of docs/autoscaling.md: its arithmetic, and that the page says what it gives."""

import importlib.util
import itertools
import sys
from types import ModuleType

import pytest
import yaml

from gateway.settings import Settings
from tests.deploy.chart import kind, values
from tests.deploy.helm import CHART, ROOT, Helm


def load() -> ModuleType:
    """Return the script, which is in no package."""
    spec = importlib.util.spec_from_file_location("autoscaling_simulation", ROOT / "docs/autoscaling_simulation.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look there
    spec.loader.exec_module(module)
    return module


sim = load()
SCALER = sim.Scaler(minimum=1, maximum=10, inflight=8, queue_ratio=2, gateway_inflight=48, down_s=600)
REPLICA = sim.Replica()


@pytest.mark.parametrize(("inflight", "measured_per_s"), [(1, 448), (32, 1733), (64, 1817)])
def test_a_replica_answers_as_measured(inflight: float, measured_per_s: float) -> None:
    found = sim.observe(measured_per_s, 0.0, 1, REPLICA)
    assert found.inflight == pytest.approx(inflight, rel=0.02)


@pytest.mark.parametrize(
    ("inflight", "replicas", "expected"),
    [(0, 4, 1), (8, 1, 1), (8.7, 1, 1), (9, 1, 2), (40, 2, 5), (800, 3, 10), (3, 0, 1)],
)
def test_the_hpas_arithmetic(inflight: float, replicas: int, expected: int) -> None:
    assert sim.wanted(sim.Load(inflight, ()), replicas, replicas, SCALER, REPLICA) == expected


def test_tritons_ratio_alone_stays_low_however_long_callers_wait() -> None:
    many = [sim.queue_ratio(inflight, 4, SCALER, REPLICA) for inflight in (8, 32, 48)]
    assert many == [0.0, 0.0, 0.0]
    assert sim.queue_ratio(96, 1, SCALER, REPLICA) == 2.0  # six batches for two instances


def quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the scaler see calls in flight without scatter."""
    monkeypatch.setattr(sim.random.Random, "gauss", lambda _, mean, __: mean)


def test_up_doubles_in_half_a_minute_and_down_waits_then_goes_step_by_step(monkeypatch: pytest.MonkeyPatch) -> None:
    quiet(monkeypatch)
    decide = sim.autoscale(SCALER, REPLICA)
    counts = [1]
    for second in range(0, 1800, sim.SYNC_S):
        counts.append(decide(sim.Load(80.0 if second < 300 else 0.0, ()), counts[-1], counts[-1]))
    assert counts[1:4] == [3, 3, 6]
    assert counts[20] == 10
    first_less = next(i for i, (before, after) in enumerate(itertools.pairwise(counts)) if after < before)
    assert first_less * sim.SYNC_S >= 300 + 600
    minute = 60 // sim.SYNC_S
    down = counts[first_less:]
    assert all(after >= min(before - 1, int(before * 0.8)) for before, after in zip(down, down[minute:], strict=False))
    assert counts[-1] == 1


def test_none_comes_back_and_the_calls_meanwhile_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    quiet(monkeypatch)
    none = sim.Scaler(minimum=0, maximum=10, inflight=8, queue_ratio=2, gateway_inflight=48, down_s=60)
    rates = [0.0] * 300 + [10.0] * 300
    found = sim.live(rates, 1, sim.autoscale(none, REPLICA), REPLICA)
    assert 10 * REPLICA.start_s <= found.held <= 10 * (REPLICA.start_s + sim.SYNC_S + 1)
    asleep = sim.live([0.0] * 300, 1, sim.autoscale(none, REPLICA), REPLICA)
    assert asleep.replica_hours < 120 / 3600


def test_a_fixed_capacity_costs_what_it_costs() -> None:
    found = sim.live([100.0] * 3600, 3, sim.fixed(3), REPLICA)
    assert (found.replica_hours, found.most, found.changes, found.held) == (3.0, 3, 0, 0.0)
    assert REPLICA.company / REPLICA.per_s < found.p50_s < found.p99_s < 0.01


def test_percentiles_weigh() -> None:
    assert list(sim.percentiles([(3.0, 1.0), (1.0, 98.0), (2.0, 1.0)], (0.5, 0.985, 0.999))) == [1.0, 2.0, 3.0]


def test_it_lives_by_the_charts_figures(helm: Helm) -> None:
    own = yaml.safe_load((CHART / "values.yaml").read_text())["autoscaling"]
    assert sim.Scaler.of_the_chart(own) == SCALER
    assert Settings().gateway_batches_in_flight == sim.BATCHES
    (_, server) = kind(helm.render(values("hpa")), "HorizontalPodAutoscaler")
    policies = server["spec"]["behavior"]
    assert [(p["type"], p["value"], p["periodSeconds"]) for p in policies["scaleUp"]["policies"]] == [
        ("Percent", 100, 30),
        ("Pods", 2, 30),
    ]
    assert [(p["type"], p["value"], p["periodSeconds"]) for p in policies["scaleDown"]["policies"]] == [
        ("Percent", 20, 60),
        ("Pods", 1, 60),
    ]


def test_the_page_shows_the_table_and_the_saving_that_it_claims() -> None:
    found = dict(sim.rows())
    page = (ROOT / "docs/autoscaling.md").read_text()
    assert sim.table(found.items()) in page
    day = found["autoscaled, as the chart has it"]
    office = found["office hours: autoscaled, at least one"]
    saved = [1 - outcome.replica_hours / found["8 replicas, fixed"].replica_hours for outcome in (day, office)]
    assert all(f"**{share:.0%}**".replace("%", " %") in page for share in saved)
    assert all(0.4 <= share <= 0.6 for share in saved)
    assert day.p99_s < 0.015
