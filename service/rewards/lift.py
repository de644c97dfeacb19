"""What an answer earns beyond a guess that is blind to the perturbation.

With p the model's probability of the positive class and p₀ what it says of the same readout, cell
line and task whatever the perturbation (the mean of p over perturbations), claiming the positive
class earns

    s = ½ + ½ · (p − p₀) / max(p₀, 1 − p₀)

and claiming the other 1 − s. For a given p₀ this is a strictly increasing function of the change in
log-odds ℓ = logit p − logit p₀, from 0 or above to 1 or below, and ½ at ℓ = 0: no information
beyond the base rate. The answer that earns more is "yes" exactly where p > p₀.

Why this function and no other. A policy that sees the question without its perturbation (the
readout, the line, p₀, whatever it learnt of them) says yes with some probability that is the same
for all perturbations of a readout, so it earns a mixture of E[s] and 1 − E[s], with the mean over
perturbations. Since E[p] = p₀, E[s] = ½ exactly: **every blind policy earns chance on every
readout**, always-yes, always-no and the majority of the training labels among them. And only so:
if f(p, p₀) has mean 0 under every distribution of p with mean p₀, then under the one on two points
a < p₀ < b, which takes a with probability (b − p₀)/(b − a), f(a)/(a − p₀) = f(b)/(b − p₀); hence
f = c(p₀)·(p − p₀). In particular σ(ℓ/scale) will not do, at any scale: most perturbations lie
slightly below the mean of a skewed p and few far above it, so always-no earns more than ½ under it.
c = ½/max(p₀, 1 − p₀) is the greatest that keeps s within [0, 1] whatever p is.

What it does not give. Rare readouts can fall by little, so a right "no" earns little more than ½
there; that is what it is worth. Group-normalised advantages erase the size of s and leave its side,
and most sides are "no": under them always-no wins again. Use un-normalised advantages, or count the
size once by the weight (``weight``); both at once would count it twice.

Silence. Leaving questions out by |ℓ| takes more from one side than from the other. Inside a dead
zone |ℓ| < δ, |p − p₀| ≤ p₀(1 − p₀)(eᵟ − 1), so a share d of a readout's questions left out moves
the mean of s over the others by at most ½·min(p₀, 1 − p₀)·(eᵟ − 1)·d/(1 − d) (``bias``): nothing to
speak of at δ = 0.1. A coverage of 20 % is another matter, and leaves out by two thresholds that
balance (``worldmodels.core.Reliable``).

Limits: exact as far as p₀ is the mean of p over the perturbations that are asked about; if they are
chosen otherwise, ``soft-verifier card --profile`` measures what is left.
"""

from __future__ import annotations

import math
from typing import Final

from worldmodels.core import ModelSpec, Reliable, canonical_context

EDGE: Final = 1e-6
"""Probabilities are kept this far from 0 and 1 before their log-odds are taken: models round to
6 decimals, so that 0 stands for anything below it."""


def change(p: float, p0: float) -> float:
    """ℓ = logit p − logit p₀, both kept ``EDGE`` away from 0 and 1; in [−27.7, 27.7]."""
    return _logit(p) - _logit(p0)


def earned(p: float, p0: float) -> float:
    """What claiming the positive class earns, in [0, 1]; the other class earns the rest to 1.

    Args:
        p: probability of the positive class, in [0, 1].
        p0: the same whatever the perturbation, in [0, 1].
    """
    return 0.5 + 0.5 * (p - p0) / max(p0, 1.0 - p0)


def weight(p: float, p0: float) -> float:
    """|2s − 1|, the size of the lift in [0, 1]."""
    return abs(p - p0) / max(p0, 1.0 - p0)


def bias(p0: float, dead_zone: float, silent: float) -> float:
    """The most that a blind policy can earn beyond ½ on what a dead zone leaves to answer.

    Args:
        p0: of the readout, in [0, 1].
        dead_zone: δ ≥ 0.
        silent: share of the readout's questions inside it, in [0, 1).
    """
    return 0.5 * min(p0, 1.0 - p0) * math.expm1(dead_zone) * silent / (1.0 - silent)


def proven(spec: ModelSpec | None, relation: str, context: str, coverage: float) -> Reliable | None:
    """What a model's card proves reliable at a coverage, or at the next smaller one that it has.

    Args:
        spec: of the model that answered.
        relation: what was asked.
        context: the cell line, however it is spelled. A line that the card does not show is not
            proven by others, unless the model looks at no line at all.
        coverage: the share of questions that is wanted, in (0, 1].

    Returns:
        None where the card proves nothing of this.
    """
    if spec is None or relation not in spec.reliability:
        return None
    lines = spec.reliability[relation]
    line = canonical_context(context) if spec.contexts else ""
    if spec.contexts and not line and len(lines) > 1:
        return None  # "" is then all lines of the card, and none of them was asked about
    levels = lines.get(line, ())
    fit = [one for one in levels if one.coverage <= coverage + EDGE]
    return max(fit, key=lambda one: one.coverage, default=None)


def _logit(p: float) -> float:
    kept = min(max(p, EDGE), 1.0 - EDGE)
    return math.log(kept / (1.0 - kept))
