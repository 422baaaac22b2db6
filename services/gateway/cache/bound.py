"""The audited bound: which neighbours' answers may be served, so that at most delta of them are wrong.

A request flips one coin, hit or miss, whatever its text and score. What it draws is answered by the model too, off the
request's path if it was a hit, and counted: a fair sample of all requests. Once a second the counts decide anew which
region of scores is served.

Why it is right: the regions are tested from the strictest on, each with its own share of alpha, and a proved one hands
what it had to the next. Before a bad region is wrongly proved, what it can have inherited comes from the shares of good
regions that no other bad region inherits from; so all bad regions together are ever proved with chance alpha at most,
whatever their dependence and however often one looks (evidence.bets). It promises this per window of two generations,
for the average over a window's draws. Wiens 2003, https://doi.org/10.1002/pst.064; https://arxiv.org/abs/2110.01052.
"""

import math
from dataclasses import dataclass
from itertools import accumulate

from evidence.bets import high, low, upper_bound
from gateway.cache.counters import Counters
from gateway.cache.meter import theta
from gateway.cache.plan import Plan

CLASS_FACTOR = 5  # a class is closed for being wrong in more than this many times delta
CLASS_RATIOS = (1.5, 2.0, 3.0, 4.0, 6.0, 8.0, 12.0)
CLASS_PROOF = math.log(100)
RESET_SHARE = 0.2


@dataclass(frozen=True, slots=True)
class Decision:
    """What is served, and the evidence on the region that is served or, while none is, is nearest to it."""

    served_threshold: float | None
    closed_classes: frozenset[str]
    bins: int  # the proved region is made of so many
    draws: int
    wrong: int
    upper_bound: float  # for people; 1 without draws
    why: str

    def serves(self, label: str, score: float) -> bool:
        """Whether a neighbour's answer may be given."""
        return self.served_threshold is not None and score >= self.served_threshold and label not in self.closed_classes


@dataclass(frozen=True, slots=True)
class Toss:
    """What is settled of a request with neighbours before anybody knows the truth."""

    label: str
    score: float
    hit: bool
    is_open: bool  # its class is
    rate: float
    drawn: bool

    @property
    def audits(self) -> bool:
        """Whether the model must answer it too, off the request's path; a miss it answers anyway."""
        return self.hit and self.drawn

    @property
    def stores(self) -> bool:
        """Whether the model's answer becomes an entry. An unaudited hit never does: errors must not breed."""
        return self.drawn or not self.hit


@dataclass(frozen=True, slots=True)
class Increments:
    """What one request adds to the current generation, and to the meter."""

    counters: Counters
    meter: float


def audit_rate(served_threshold: float | None, served_hits: int, plan: Plan) -> float:
    """Return the coin's chance, from the hits served since nothing was served last."""
    if served_threshold is None:
        return 1.0
    return max(plan.a_min, min(1.0, plan.m0 / max(served_hits, 1)))


def toss(label: str, score: float, decision: Decision, served_hits: int, uniform: float, plan: Plan) -> Toss:
    """Decide on one request; `uniform` is a fresh random number from [0, 1)."""
    rate = audit_rate(decision.served_threshold, served_hits, plan)
    is_open = label not in decision.closed_classes
    return Toss(label, score, decision.serves(label, score), is_open, rate, drawn=uniform < rate)


def learned(toss: Toss, truth: str, plan: Plan) -> Increments:
    """Return what the model's answer adds; nothing for a request that was not drawn, even where it is known."""
    none = (0,) * len(plan.thresholds)
    first = plan.bin_of(toss.score)
    if not toss.drawn or first is None:
        return Increments(Counters(none, none), 0.0)
    wrong = int(truth != toss.label)
    one = tuple(int(i == first) for i in range(len(none)))
    n, k = (one, one if wrong else none) if toss.is_open else (none, none)
    by_class = toss.hit or (plan.start is not None and toss.score >= plan.start)
    return Increments(
        Counters(n, k, {toss.label: 1}, {toss.label: wrong}) if by_class else Counters(n, k),
        theta(toss.rate, plan.a_min) if toss.hit and wrong else 0.0,
    )


def proved(window: Counters, plan: Plan) -> int:
    """Return of how many bins, from the first, the largest proved region is made."""
    n = k = best = 0
    carry = 0.0
    for i, weight in enumerate(plan.weights):
        n, k = n + window.n[i], k + window.k[i]
        level = plan.alpha * weight + carry
        if low(n, k, plan.delta) >= math.log(1 / level):
            best, carry = i + 1, level  # a proved region hands its level to the next larger one
        else:
            carry = 0.0
    return best


def decide(window: Counters, plan: Plan) -> Decision:
    """Return what is served from now on; `window` is the previous and the current generation together."""
    bins, closed = proved(window, plan), closed_classes(window, plan)
    shown = bins or _nearest(window, plan)
    draws, wrong, threshold = sum(window.n[:shown]), sum(window.k[:shown]), plan.thresholds[shown - 1]
    bound = upper_bound(draws, wrong, plan.alpha)
    return Decision(
        served_threshold=threshold if bins else None,
        closed_classes=closed,
        bins=bins,
        draws=draws,
        wrong=wrong,
        upper_bound=bound,
        why=f"{'served' if bins else 'nothing is served, nearest to it'}: scores of {threshold:.2f} and more, "
        f"{wrong:,} of {draws:,} draws wrong, at most {bound:.2%} (limit {plan.delta:.2%}); "
        f"classes closed: {len(closed)}",
    )


def _nearest(window: Counters, plan: Plan) -> int:
    """Return the bins of the region nearest to proof; without draws, of the one where it is expected."""
    regions = zip(accumulate(window.n), accumulate(window.k), strict=True)
    drawn = [(low(n, k, plan.delta), bins) for bins, (n, k) in enumerate(regions, start=1) if n]
    return max(drawn)[1] if drawn else plan.thresholds.index(plan.start or plan.thresholds[-1]) + 1


def closed_classes(window: Counters, plan: Plan) -> frozenset[str]:
    """Return the classes that are wrong far more often than the region: their answers are not served.

    That stops their draws from counting from now on; what they added stays, or it would be selection.
    """
    limit = CLASS_FACTOR * plan.delta
    return frozenset(
        label
        for label, k in window.ck.items()
        # No evidence without more errors than the limit; asking that first is cheap, and most classes end there.
        if k > limit * (n := window.cn[label]) and high(n, k, limit, CLASS_RATIOS) >= CLASS_PROOF
    )


def is_full(current: Counters, decision: Decision, plan: Plan) -> bool:
    """Whether the current generation becomes the previous one, and an empty one begins."""
    return sum(current.n[: decision.bins]) >= plan.window_served or sum(current.n) >= plan.window_draws


def resets(invalidated: int, entries: int) -> bool:
    """Whether so much of a version's cache was thrown away at once that both generations start empty.

    A filling cache only gets better than its evidence says; an emptied one does not.
    """
    return invalidated > RESET_SHARE * entries
