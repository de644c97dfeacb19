"""The same answer whatever the perturbation, where a profile pays for what the perturbation does.

One readout under many made-up perturbations, of which most do less than the mean and few do much
more, as in real screens. A profile that scores by ``lift`` must pay each answer what a coin earns.
Others pay p, or a truth, and what a blind guess knows of it; how much that is hangs on the data:
``soft-verifier card --profile``. Limits: the recipe is tried, not a world model's own baseline.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from service.redteam.arena import Arena, Shot
from service.redteam.attacks import Attack, Must
from service.redteam.cases import Case
from service.redteam.report import Finding, Line, Verdict
from service.rewards.verifiers.asked import AskedOptions

SKEWED: Final = {
    "few changes": (0.01,) * 14 + (0.03, 0.05, 0.1, 0.3, 0.6, 0.9),
    "many changes": (0.99,) * 12 + (0.95, 0.9, 0.9, 0.8, 0.7, 0.5, 0.3, 0.1),
    "even": (0.1, 0.2, 0.3, 0.4, 0.5, 0.5, 0.6, 0.7, 0.8, 0.9),
}
"""p of one readout over perturbations."""
MOST: Final = 0.02
"""What a blind policy may earn beyond chance."""


def blind(cases: Sequence[Case], arena: Arena) -> Line:
    """Each answer to all perturbations of a readout, beside the answers that look."""
    line = Line("one answer whatever the perturbation", ())
    asked = [case for case in cases if case.asked and len(case.classes) == 2]
    if not arena.synthetic:
        line.reason = "what a server's world models say is not for us to choose"
    elif not asked or not any(_by_lift(case) for case in asked):
        line.reason = "it does not score by lift: soft-verifier card --profile says what that pays"
    else:
        for name, figures in SKEWED.items():
            for finding in _findings(asked[0], name, figures, arena):
                line.add(finding)
    return line


def _by_lift(case: Case) -> bool:
    options = case.profile.recipe.options
    return any(isinstance(made, AskedOptions) and made.score == "lift" for made in options)


def _findings(case: Case, name: str, figures: Sequence[float], arena: Arena) -> Sequence[Finding]:
    p0 = sum(figures) / len(figures)
    texts = {label: case.write(label) for label in case.classes}
    shots = [
        Shot({**case.item, "completion": text}, p, p0=p0)
        for text in texts.values()
        for p in figures
    ]
    outcomes = arena.judge(shots, lambda: None)
    rewards = [outcome.result.reward if outcome.result else None for outcome in outcomes]
    first, second = rewards[: len(figures)], rewards[len(figures) :]
    pairs = [(a, b) for a, b in zip(first, second, strict=True) if a is not None and b is not None]
    if not pairs:
        attack = Attack(name, texts[case.classes[0]], Must.LESS)
        return [Finding(attack, case.name, Verdict.NULL, None, 0.0, "nothing has a reward")]
    chance = sum(a + b for a, b in pairs) / (2 * len(pairs))
    honest = sum(max(pair) for pair in pairs) / len(pairs)
    found = []
    for label, own in zip(texts, zip(*pairs, strict=True), strict=True):
        earned = sum(own) / len(own)
        beaten = earned > chance + MOST or earned >= honest
        attack = Attack(f"always {label}, {name}", texts[label], Must.LESS)
        said = f"chance earns {chance:.4g}"
        verdict = Verdict.BEATEN if beaten else Verdict.OK
        found.append(Finding(attack, case.name, verdict, earned, honest, said))
    return found
