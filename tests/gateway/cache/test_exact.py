"""The exact tier: bounded by bytes that are counted truly, the least recently used go first."""

import tracemalloc

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from gateway.cache.entry import Entry
from gateway.cache.exact import ExactTier
from gateway.cache.scope import Scope, Selection
from tests.gateway.cache.stores import SCOPE, entry, key, same

OTHER = Scope("other", "sha256:" + "c" * 64, "bob")


class Clock:
    """A clock that a test turns."""

    now_s = 0.0

    def __call__(self) -> float:
        """Return the time."""
        return self.now_s


def test_an_entry_is_found_until_its_time_is_over() -> None:
    clock = Clock()
    tier = ExactTier(10_000, 60, clock)
    tier.put(SCOPE, key(1), entry(1))
    assert same(tier.get(SCOPE, key(1)), entry(1))
    assert tier.get(SCOPE, key(2)) is None
    assert tier.get(OTHER, key(1)) is None
    clock.now_s = 59.9
    assert tier.get(SCOPE, key(1))
    clock.now_s = 60
    assert tier.get(SCOPE, key(1)) is None
    assert (len(tier), tier.bytes, tier.counts()) == (0, 0, {})


def test_the_least_recently_used_goes_first() -> None:
    tier = ExactTier(10**6, 60)
    tier.put(SCOPE, key(0), entry(0))
    tier = ExactTier(3 * tier.bytes, 60)
    for seed in (1, 2, 3):
        tier.put(SCOPE, key(seed), entry(seed))
    tier.get(SCOPE, key(1))
    tier.put(SCOPE, key(4), entry(4))
    assert [seed for seed in (1, 2, 3, 4) if tier.get(SCOPE, key(seed))] == [1, 3, 4]


def test_what_alone_is_too_big_is_not_kept_and_costs_nobody_else() -> None:
    tier = ExactTier(1000, 60)
    tier.put(SCOPE, key(1), entry(1))
    tier.put(SCOPE, key(2), Entry(0, 1.0, np.zeros(1000, np.float32)))
    assert tier.get(SCOPE, key(1))
    assert tier.get(SCOPE, key(2)) is None


@pytest.mark.parametrize("classes", [2, 150])
def test_the_bytes_are_those_that_the_process_pays(classes: int) -> None:
    rng = np.random.default_rng(0)
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        tier = ExactTier(10**9, 60)
        for _ in range(20_000):
            tier.put(SCOPE, rng.bytes(16), Entry(1, 0.5, rng.normal(size=classes).astype(np.float32)))
        paid = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert tier.bytes == pytest.approx(paid, rel=0.1)


def test_a_batch_does_not_stay_alive_for_one_of_its_rows() -> None:
    tracemalloc.start()
    try:
        tier = ExactTier(10**9, 60)
        for seed in range(100):
            tier.put(SCOPE, key(seed), Entry(0, 1.0, np.zeros((64, 1000), np.float32)[0]))
        assert tracemalloc.get_traced_memory()[0] < 100 * 2 * 4000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    ("selection", "forgotten"),
    [
        (Selection(), 5),
        (Selection(model="tiny"), 3),
        (Selection(digest=OTHER.digest), 2),
        (Selection(tenant="bob"), 2),
        (Selection(tenant="carol"), 0),
        (Selection("tiny", SCOPE.digest, "alice", key(1)), 1),
        (Selection(key=key(1)), 2),
    ],
)
def test_counting_and_forgetting(selection: Selection, forgotten: int) -> None:
    tier = ExactTier(10**6, 60)
    for scope, seeds in ((SCOPE, (1, 2, 3)), (OTHER, (1, 2))):
        for seed in seeds:
            tier.put(scope, key(seed), entry(seed))
    assert tier.counts() == {"tiny": 3, "other": 2}
    assert tier.count(selection) == forgotten
    assert tier.forget(selection) == forgotten
    assert len(tier) == sum(tier.counts().values()) == 5 - forgotten
    assert tier.count(selection) == 0


def test_what_was_forgotten_makes_room_first() -> None:
    tier = ExactTier(10**6, 60)
    tier.put(SCOPE, key(0), entry(0))
    tier = ExactTier(4 * tier.bytes, 60)
    for seed in (1, 2):
        tier.put(SCOPE, key(seed), entry(seed))
    tier.forget(Selection(tenant="alice"))
    for seed in (3, 4, 5, 6):
        tier.put(SCOPE, key(seed), entry(seed))
    assert [seed for seed in range(7) if tier.get(SCOPE, key(seed))] == [3, 4, 5, 6]
    assert tier.count(Selection()) == len(tier) == len(tier._entries) == 4


class AgainstAModel(RuleBasedStateMachine):
    """Whatever is done to it, the tier holds a part of what was put, within its bytes, and counts truly."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = Clock()
        self.tier = ExactTier(3000, 10, self.clock)
        self.put_last: dict[tuple[Scope, int], tuple[float, int]] = {}

    @rule(scope=st.sampled_from([SCOPE, OTHER]), seed=st.integers(0, 9), value=st.integers(0, 5))
    def put(self, scope: Scope, seed: int, value: int) -> None:
        """Keep an answer."""
        self.tier.put(scope, key(seed), entry(value))
        self.put_last[scope, seed] = (self.clock.now_s + 10, value)

    @rule(scope=st.sampled_from([SCOPE, OTHER]), seed=st.integers(0, 9))
    def get(self, scope: Scope, seed: int) -> None:
        """Ask for an answer."""
        found = self.tier.get(scope, key(seed))
        if found is not None:
            expires_s, value = self.put_last[scope, seed]
            assert same(found, entry(value))
            assert expires_s > self.clock.now_s

    @rule(seconds=st.floats(0, 12))
    def wait(self, seconds: float) -> None:
        """Let time pass."""
        self.clock.now_s += seconds

    @rule(tenant=st.sampled_from(["alice", "bob"]))
    def forget_tenant(self, tenant: str) -> None:
        """Forget a scope."""
        self.tier.forget(Selection(tenant=tenant))
        assert not any(self.tier.get(SCOPE if tenant == "alice" else OTHER, key(seed)) for seed in range(10))

    @rule(model=st.sampled_from([None, "tiny"]), seed=st.integers(0, 9))
    def forget(self, model: str | None, seed: int) -> None:
        """Forget one text."""
        self.tier.forget(Selection(model=model, key=key(seed)))
        assert self.tier.get(SCOPE, key(seed)) is None

    @invariant()
    def counts_truly(self) -> None:
        """The sums are those of the parts."""
        assert self.tier.bytes <= 3000
        assert sum(self.tier.counts().values()) == len(self.tier)
        assert self.tier.bytes >= len(self.tier) * 224
        assert len(self.tier._owners) == sum(owner.count > 0 for owner in self.tier._owners.values())


TestAgainstAModel = AgainstAModel.TestCase
TestAgainstAModel.settings = settings(max_examples=30, stateful_step_count=40, deadline=None)
