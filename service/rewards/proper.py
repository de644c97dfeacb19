"""Proper scores: what a stated probability earns, most where it says what is believed.

With q the policy's probability of the positive class and p what the verifier believes, a score is
p·S(q, 1) + (1 − p)·S(q, 0). For a proper S its one maximum over q is at q = p, so that honesty is
the best answer and hedging at 0.5 pays only where nothing is known (Gneiting and Raftery, JASA
102, 2007). Both are mapped to [0,1], 0 for certainty in the wrong class and 1 in the right one:

    brier   S(q, y) = 1 − (q − y)²
    log     S(q, y) = (ln q_y − ln ε) / (ln(1 − ε) − ln ε), with q_y the probability given to y
            and q moved into [ε, 1 − ε] first, which bounds what one confident error costs. Its
            maximum is at p moved into [ε, 1 − ε].
"""

from __future__ import annotations

import math
from typing import Literal

Rule = Literal["brier", "log"]


def expected(rule: Rule, q: float, p: float, epsilon: float) -> float:
    """The score of stating ``q`` where ``p`` is believed, in [0,1].

    Args:
        rule: which score.
        q: stated probability of the positive class, in [0,1].
        p: believed probability of the positive class, in [0,1].
        epsilon: where ``log`` is clipped, in (0, 0.5).
    """
    if rule == "brier":
        return 1.0 - p * (1.0 - q) ** 2 - (1.0 - p) * q**2
    q = min(max(q, epsilon), 1.0 - epsilon)
    least, most = math.log(epsilon), math.log(1.0 - epsilon)
    earned = p * math.log(q) + (1.0 - p) * math.log(1.0 - q)
    return min(max((earned - least) / (most - least), 0.0), 1.0)  # rounding may leave it by an ulp
