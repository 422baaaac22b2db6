"""The plan of a training: which rows and which learning rate each step has, known before the first. Pure.

It depends on the data's lengths, the configuration and the seed alone, so a run that was killed goes on exactly.
"""

from collections.abc import Sequence
from functools import lru_cache

from training.config import Fit
from training.encoding import length_buckets


class Plan:
    """`steps` steps of `fit.batch_size` rows each, fewer at an epoch's end; steps count from 0."""

    def __init__(self, lengths: Sequence[int], fit: Fit, seed: int) -> None:
        self.fit = fit
        self.steps_an_epoch = -(-len(lengths) // fit.batch_size)
        self.steps = self.steps_an_epoch * fit.epochs
        self._order = lru_cache(2)(lambda epoch: length_buckets(lengths, fit.batch_size, seed, epoch))

    def rows(self, step: int) -> list[int]:
        """Row numbers of a step, whatever the number of processes that share them."""
        epoch, place = divmod(step, self.steps_an_epoch)
        return self._order(epoch)[place]

    def rate(self, step: int) -> float:
        """The learning rate of a step."""
        return self.fit.learning_rate * warmup_decay(step, self.steps, self.fit.warmup)

    def validates_after(self, done: int) -> bool:
        """Whether the validation split is due once `done` steps are done: on schedule and at the end."""
        return done % (self.fit.validate_steps or self.steps_an_epoch) == 0 or done == self.steps


def warmup_decay(step: int, steps: int, warmup: float) -> float:
    """The learning rate's factor: up linearly over the first share of the steps, then linearly down to zero."""
    rising = max(1, round(steps * warmup))
    return min((step + 1) / rising, (steps - step) / max(1, steps - rising))
