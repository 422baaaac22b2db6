"""The governor of one tier: it switches the tier off while that costs more time than it saves, and looks again later.

All of it is measured: hit rate x inference against lookup + (1 - hit rate) x insertion + audits. Feed it seconds of
what is scarce: for inference what a row takes at the model, not how long it waited there. And feed it the hits that the
tier could give: while evidence is still being gathered for the semantic tier, those are the requests that score at
least the start threshold. Otherwise a new version would be switched off before it could prove anything.
"""

from dataclasses import dataclass, field, replace
from enum import StrEnum

HALF_LIFE = 2_000  # requests; not seconds, or a quiet gateway would never have enough of them
FIRST_REQUESTS = 5_000  # an empty cache has few hits: judge it when it had the time to fill
PROBE_REQUESTS = 1_000
PROBE_SPACING = 50  # a probe follows so many times its own requests: a tier that loses costs one in fifty of them
FIRST_PAUSE_S = 60.0
MAX_PAUSE_S = 960.0
# Between them nothing changes, so a tier at the break-even point stays what it is.
LOSES_BELOW = 0.9
PAYS_ABOVE = 1.1


@dataclass(slots=True)
class Mean:
    """A mean that forgets: old values weigh less than new ones."""

    total: float = 0.0
    weight: float = 0.0

    def add(self, value: float) -> None:
        """Count one value."""
        self.total += value
        self.weight += 1.0

    def fade(self, factor: float) -> None:
        """Let everything so far weigh less."""
        self.total *= factor
        self.weight *= factor

    @property
    def value(self) -> float:
        """The mean, 0 of nothing."""
        return self.total / self.weight if self.weight else 0.0


@dataclass(slots=True)
class Measures:
    """What a tier's requests cost lately. The request path adds, the governor reads."""

    lookup_s: Mean = field(default_factory=Mean)
    insertion_s: Mean = field(default_factory=Mean)
    inference_s: Mean = field(default_factory=Mean)
    hits: Mean = field(default_factory=Mean)
    audits: Mean = field(default_factory=Mean)
    lookups: int = 0  # since the governor looked last

    def looked_up(self, seconds: float, *, hit: bool, audited: bool = False) -> None:
        """Count one request that the tier was asked for."""
        self.lookup_s.add(seconds)
        self.hits.add(hit)
        self.audits.add(audited)
        self.lookups += 1

    def inserted(self, seconds: float) -> None:
        """Count one entry that was stored."""
        self.insertion_s.add(seconds)

    def inferred(self, seconds: float) -> None:
        """Count one answer of the model, also while the tier is off."""
        self.inference_s.add(seconds)

    def fade(self, requests: int) -> None:
        """Forget by as many requests."""
        for mean in (self.lookup_s, self.insertion_s, self.inference_s, self.hits, self.audits):
            mean.fade(0.5 ** (requests / HALF_LIFE))
        self.lookups = 0

    def costs(self) -> "Costs":
        """Return the means of now."""
        return Costs(
            self.lookup_s.value,
            self.insertion_s.value,
            self.inference_s.value,
            self.hits.value,
            self.audits.value,
        )


@dataclass(frozen=True, slots=True)
class Costs:
    """What a request costs on average with the tier, and what it saves."""

    lookup_s: float
    insertion_s: float
    inference_s: float
    hit_rate: float
    audit_share: float  # of requests: hits that the model answers too

    @property
    def saved_s(self) -> float:
        """Inferences that hits make needless."""
        return self.hit_rate * self.inference_s

    @property
    def spent_s(self) -> float:
        """Every request is looked up, a miss is inserted, some hits are audited."""
        return self.lookup_s + (1 - self.hit_rate) * self.insertion_s + self.audit_share * self.inference_s

    @property
    def why(self) -> str:
        """The numbers, in milliseconds a request."""
        lookup, inference, saved, spent = (
            f"{seconds * 1e3:.3f}" for seconds in (self.lookup_s, self.inference_s, self.saved_s, self.spent_s)
        )
        insertion = f"{(1 - self.hit_rate) * self.insertion_s * 1e3:.3f}"
        audits = f"{self.audit_share * self.inference_s * 1e3:.3f}"
        return (
            f"saves {saved} ms a request ({self.hit_rate:.1%} hits x {inference} ms of inference) "
            f"and costs {spent} ms (lookup {lookup}, insertion {insertion}, audits {audits})"
        )


class Phase(StrEnum):
    """What a tier is doing."""

    FILLING = "filling"
    ON = "on"
    OFF = "off"
    PROBE = "probe"


@dataclass(frozen=True, slots=True)
class State:
    """A tier between two rulings: since when, after how many requests, and why."""

    phase: Phase = Phase.FILLING
    since_s: float = 0.0
    requests: int = 0
    pause_s: float = FIRST_PAUSE_S
    why: str = "the cache is filling"

    @property
    def on(self) -> bool:
        """Whether requests go through the tier."""
        return self.phase is not Phase.OFF


def rule(state: State, costs: Costs, requests: int, now_s: float) -> State:
    """Return the tier's next state after `requests` more requests, looked up or passed by."""
    state = replace(state, requests=state.requests + requests)
    if state.phase is Phase.OFF:
        rested = now_s - state.since_s >= state.pause_s and state.requests >= PROBE_SPACING * PROBE_REQUESTS
        return State(Phase.PROBE, now_s, 0, state.pause_s, "looking again") if rested else state
    needed = {Phase.FILLING: FIRST_REQUESTS, Phase.PROBE: PROBE_REQUESTS, Phase.ON: 0}[state.phase]
    if state.requests < needed or not costs.inference_s:  # hits alone do not tell what they save
        return state
    pays_from = PAYS_ABOVE if state.phase is Phase.PROBE else LOSES_BELOW
    if costs.saved_s < pays_from * costs.spent_s:
        pause_s = min(2 * state.pause_s, MAX_PAUSE_S) if state.phase is Phase.PROBE else FIRST_PAUSE_S
        return State(Phase.OFF, now_s, 0, pause_s, f"off for {pause_s:.0f} s or more: {costs.why}")
    if state.phase is Phase.ON:
        return state
    return State(Phase.ON, now_s, 0, FIRST_PAUSE_S, f"on: {costs.why}")


class Governor:
    """One tier's measures and state; `rule` is called about once a second."""

    def __init__(self, now_s: float) -> None:
        self.state = State(since_s=now_s)
        self.measures = Measures()
        self._passed = 0

    def admits(self) -> bool:
        """Whether this request goes through the tier; whoever asks counts as one request."""
        if not self.state.on:
            self._passed += 1
        return self.state.on

    def rule(self, now_s: float) -> State:
        """Decide anew; log the state's `why` when `phase` has changed."""
        requests = self.measures.lookups + self._passed
        before, self._passed = self.state, 0
        self.state = rule(before, self.measures.costs(), requests, now_s)
        self.measures.fade(requests)
        if self.state.phase is Phase.PROBE and before.phase is Phase.OFF:
            # What hits and lookups were before the pause says nothing now; inference was measured all the time.
            self.measures = Measures(inference_s=self.measures.inference_s)
        return self.state
