"""What a recipe must obey before it may reward: checked when a profile loads, never per item.

* Each component judges every task type that the profile accepts.
* Something earns: at least one primary component with a weight above 0.
* Range: scores lie in [0,1], so what a recipe can earn follows; a stated range must be that one,
  and a stated neutral reward lies within it.
* The floor is at most what the worst readable answer earns: nobody gains by being unreadable.
* ``scale`` and ``noise`` are for operators whose score lies in [0,1].
* ``mean_minus_sd``: λ ≤ 1/√(n−1) over n ≥ 2 primaries that ask different families, nothing else.
* Where answers state a probability, what counts pays by ``brier`` or ``log``, and nowhere else.
* Gates look only at how a completion is written; a verdict is never a gate, and how a completion is
  written is never a primary: style alone earns nothing. Nor does being a molecule alone.
* Auxiliaries are for the two sums. A mean, a product and a least would let style outrank the truth,
  and ``first_ok`` would take style for the verdict.
* ``sum``: Σ auxiliary weights < the least difference that a primary can make, or the recipe admits
  otherwise by ``style_may_outrank``.
* ``lexi_sum``: Σ auxiliary weights < the smallest difference that the one primary can make: its
  weight for a hard verdict, weight·min_gap for a soft one, which must abstain nearer to 0.5, and
  weight·step for a graded one (a distance, a ranking), which must be rounded down to steps.
"""

from __future__ import annotations

import math
from typing import Final

from service.rewards.compose import DECIMALS, Part
from service.rewards.recipe import ComponentRecipe, Fault, Recipe

_UNWEIGHTED: Final = ("product", "min", "first_ok", "mean_minus_sd")
_UNBOUNDED: Final = ("sum", "lexi_sum")
_PRIMARIES_ONLY: Final = ("mean", "product", "min", "first_ok")
"""And ``mean_minus_sd``, which says so itself."""
_NEAR: Final = 10.0**-DECIMALS


def check(recipe: Recipe, parts: tuple[Part, ...]) -> tuple[float, float]:
    """The range of rewards, from the floor to the most that can be earned.

    Raises:
        Fault: the recipe breaks one of the rules above.
    """
    names = [component.name for component in recipe.components]
    for index, component in enumerate(recipe.components):
        if component.name in names[:index]:
            raise Fault(f"name: {component.name!r} is used twice", "component", index, "name")
        _check_component(recipe, component, parts[index], index)
    primaries = [part for part in parts if part.role == "primary" and part.weight > 0]
    if not primaries:
        raise Fault("component: a profile needs a primary component with a weight above 0")
    if all(one.verifier == "molecule.valid" for one in recipe.components if one.role == "primary"):
        raise Fault(
            "component: molecule.valid pays for any molecule, so it cannot be the only primary; "
            'add one that says whether the molecule is right, or show it with role = "report"'
        )
    if recipe.compose.operator == "lexi_sum":
        _check_lexi_sum(parts, primaries)
    if recipe.compose.operator == "sum" and not recipe.compose.style_may_outrank:
        _check_sum(parts, primaries)
    _check_caution(recipe, parts, primaries)
    return _check_range(recipe, parts)


def _check_component(recipe: Recipe, component: ComponentRecipe, part: Part, index: int) -> None:
    def fault(message: str, key: str) -> Fault:
        return Fault(f"{key}: {message}", "component", index, key)

    accepted = part.judge.tasks
    if accepted is not None:
        if not recipe.tasks:
            raise Fault(
                f"tasks: {component.verifier} needs a task; name the types, of "
                f"{', '.join(accepted)}",
                key="tasks",
            )
        for task in recipe.tasks:
            if task not in accepted:
                raise fault(
                    f"{component.verifier} does not judge {task} tasks, only "
                    f"{', '.join(accepted)}; take the task type or the component out",
                    "verifier",
                )
    if (component.role == "gate") != (component.at_least is not None):
        raise fault('a gate needs at_least, and only role = "gate" has it', "at_least")
    if component.role == "gate" and not part.judge.textual:
        raise fault(
            f"{component.verifier} judges the claim, not the writing, so it cannot be a gate; "
            'make it primary under operator = "product" or "min"',
            "role",
        )
    if component.role == "gate" and component.on_missing == "floor":
        raise fault(
            "a gate without an opinion would make every completion invalid, whatever it says; "
            'leave it "null", or "drop" to let such items pass',
            "on_missing",
        )
    if component.role == "primary" and part.judge.textual:
        raise fault(
            f"{component.verifier} judges how a completion is written, not what it claims, so it "
            'cannot be primary; make it a "gate", a "report" or "auxiliary"',
            "role",
        )
    if component.role == "auxiliary" and recipe.compose.operator in _PRIMARIES_ONLY:
        raise fault(
            f"operator {recipe.compose.operator!r} joins primaries only, so that no style outranks "
            'the truth; make it a "gate" or a "report", or use operator = "lexi_sum"',
            "role",
        )
    if component.role in ("primary", "auxiliary") and component.weight == 0:
        raise fault('0 counts for nothing; use role = "report" to show it only', "weight")
    if component.on_missing != "null" and recipe.compose.operator == "first_ok":
        raise fault('first_ok passes on from what is missing; leave it "null"', "on_missing")
    counted = component.role in ("primary", "auxiliary")
    stated = recipe.extract.states
    if part.judge.states not in (None, stated):
        if stated == "probability":
            message = "answers state a probability here, which only"
        else:
            message = 'answers state a label here; [extract] states = "probability" asks for what'
        raise fault(f'{message} score = "brier" and "log" judge', "score")
    if counted and component.weight != 1 and recipe.compose.operator in _UNWEIGHTED:
        raise fault(f"operator {recipe.compose.operator!r} takes no weights", "weight")


def _check_sum(parts: tuple[Part, ...], primaries: list[Part]) -> None:
    slivers = sum(part.weight for part in parts if part.role == "auxiliary")
    gap = min(part.weight * part.judge.gap for part in primaries)
    if slivers and slivers >= gap:
        raise Fault(
            f"operator: under sum the auxiliary weights, {slivers:g}, can outrank the verdict, "
            f"whose least difference is {gap:g}; use lexi_sum, or admit it by "
            "style_may_outrank = true",
            "compose",
            key="operator",
        )


def _check_lexi_sum(parts: tuple[Part, ...], primaries: list[Part]) -> None:
    if len(primaries) > 1:
        names = ", ".join(part.judge.name for part in primaries)
        raise Fault(
            f"operator: lexi_sum takes one primary component, not {names}: where two verdicts "
            'disagree their sum can leave no gap; join them by operator = "mean" instead',
            "compose",
            key="operator",
        )
    primary = primaries[0]
    if primary.on_missing != "null":
        raise Fault(
            f'on_missing: the primary of lexi_sum, {primary.judge.name!r}, must be "null"; '
            "without its verdict style alone would earn",
            "component",
            parts.index(primary),
            "on_missing",
        )
    gap = primary.weight * primary.judge.gap
    slivers = sum(part.weight for part in parts if part.role == "auxiliary")
    if gap == 0:
        raise Fault(
            f"min_gap: the primary {primary.judge.name!r} is soft or graded, so better and worse "
            "can earn nearly the same and any auxiliary weight outranks the verdict; set min_gap "
            "(of a soft verdict: items with |2p−1| below it abstain), step (of a graded score: "
            "rounded down to its multiples) or max_length (of a list) so that scores differ by "
            f"more than {slivers / primary.weight:g}",
            "component",
            parts.index(primary),
            "min_gap",
        )
    if slivers >= gap:
        raise Fault(
            f"weight: the auxiliary weights sum to {slivers:g}, not less than {gap:g}, the "
            f"smallest difference that the primary {primary.judge.name!r} makes; style would "
            "outrank the verdict: lower them, or raise min_gap",
            "compose",
            key="operator",
        )


def _check_caution(recipe: Recipe, parts: tuple[Part, ...], primaries: list[Part]) -> None:
    compose = recipe.compose
    if compose.operator != "mean_minus_sd":
        if compose.risk is not None:
            raise Fault('risk: only operator = "mean_minus_sd" takes it', "compose", key="risk")
        return
    count = len(primaries)
    if count < 2:
        message = "operator: mean_minus_sd needs two primary components or more, got 1"
        raise Fault(message, "compose", key="operator")
    if compose.risk is None:
        raise Fault("risk: missing; λ of mean − λ·sd", "compose", key="operator")
    most = 1.0 / math.sqrt(count - 1)
    if compose.risk > most:
        raise Fault(
            f"risk: {compose.risk:g} is above 1/√{count - 1} = {most:.6g}, so that a component "
            f"could lower the reward by rising; of {count} primaries λ is at most that",
            "compose",
            key="risk",
        )
    asked: set[str] = set()
    for index, component in enumerate(recipe.components):
        model = getattr(recipe.options[index], "model", None)
        if component.role == "auxiliary":
            message = "role: mean_minus_sd joins primaries only; make it a report or a gate"
            raise Fault(message, "component", index, "role")
        if component.role != "primary" or model is None:
            continue
        if model in asked or model == "*":
            raise Fault(
                f"model: mean_minus_sd pays for agreement, so each primary asks a family of its "
                f"own, and {model!r} is not: models of one family share their errors",
                "component",
                index,
                "model",
            )
        asked.add(model)


def _check_range(recipe: Recipe, parts: tuple[Part, ...]) -> tuple[float, float]:
    compose = recipe.compose
    least, most = _readable(recipe, parts)
    if compose.floor > least + _NEAR:
        raise Fault(
            f"floor: {compose.floor:g} is above {least:g}, what a wrong answer earns, so that an "
            f"unreadable completion would beat it; set floor = {math.floor(least * 1e6) / 1e6}",
            "compose",
            key="floor",
        )
    attainable = (compose.floor, round(most, DECIMALS))
    stated = compose.range
    if stated is not None and any(
        abs(one - other) > _NEAR for one, other in zip(stated, attainable, strict=True)
    ):
        raise Fault(
            f"range: this recipe earns from {attainable[0]:g} (the floor) to {attainable[1]:g}, "
            f"not {stated[0]:g} to {stated[1]:g}; correct the range, the floor or the weights",
            "compose",
            key="range",
        )
    low, high = attainable
    neutral = compose.neutral
    if neutral is not None and not low <= neutral <= high:
        raise Fault(
            f"neutral: {neutral:g} is outside of what this recipe earns, {low:g} to {high:g}; it "
            "stands in for a reward, so it is one",
            "compose",
            key="neutral",
        )
    return attainable


def _readable(recipe: Recipe, parts: tuple[Part, ...]) -> tuple[float, float]:
    """The least and the most that a readable answer can earn."""
    compose = recipe.compose
    if compose.operator in _UNBOUNDED:
        for key in ("scale", "noise"):
            if getattr(compose, key) is not None:
                raise Fault(
                    f"{key}: operator {compose.operator!r} does not score in [0,1]; use mean, "
                    "product, min, first_ok or mean_minus_sd",
                    "compose",
                    key=key,
                )
        return 0.0, sum(part.weight for part in parts if part.role in ("primary", "auxiliary"))
    least, most = compose.noise.span() if compose.noise is not None else (0.0, 1.0)
    if compose.scale is None:
        return least, most
    low, high = compose.scale
    if low >= high:
        raise Fault(
            f"scale: expected what 0 earns below what 1 earns, got {low:g} and {high:g}",
            "compose",
            key="scale",
        )
    return low + (high - low) * least, low + (high - low) * most
