"""The meter: at most how many false hits were served, whatever the traffic did. One number, kept for ever.

With c below a_min, exp(c * false hits - meter) is on average constant: a false hit that is served multiplies it by
exp(c), and with chance `rate` it is drawn, which divides it by exp(theta). Only the coin is random, so nothing is
assumed about the texts, except that an audit that fails does not depend on its outcome.
"""

import math

CAUTION = 0.8  # c in units of a_min: below 1, or theta is infinite at a_min


def theta(rate: float, a_min: float) -> float:
    """Return what a false hit adds that the coin drew with chance `rate`, where no coin falls below `a_min`."""
    if not a_min <= rate <= 1:
        raise ValueError(f"the coin's rate {rate} is not between {a_min} and 1")
    return -math.log1p(math.expm1(-CAUTION * a_min) / rate)


def most_false_hits(meter: float, a_min: float, alpha: float = 0.05) -> float:
    """Return an upper limit on the false hits served so far: at confidence 1 - alpha it was right at every moment."""
    return (math.log(1 / alpha) + meter) / (CAUTION * a_min)
