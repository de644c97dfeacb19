"""What a recipe must obey before it may reward: checked when a profile loads, never per item.

* Each component judges every task type that the profile accepts.
* Something earns: at least one primary component with a weight above 0.
* Range: scores lie in [0,1], so what a recipe can earn follows; a stated range must be that one.
* Gates look only at how a completion is written; a verdict is never a gate.
* ``lexi_sum``: Σ auxiliary weights < the smallest difference that the one primary can make: its
  weight for a hard verdict, weight·min_gap for a soft one, which must abstain nearer to 0.5.
"""

from __future__ import annotations

from typing import Final

from service.rewards.compose import Part
from service.rewards.recipe import ComponentRecipe, Fault, Recipe

_UNWEIGHTED: Final = ("product", "min", "first_ok")


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
    if recipe.compose.operator == "lexi_sum":
        _check_lexi_sum(parts, primaries)
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
    if component.role in ("primary", "auxiliary") and component.weight == 0:
        raise fault('0 counts for nothing; use role = "report" to show it only', "weight")
    if component.on_missing != "null" and recipe.compose.operator == "first_ok":
        raise fault('first_ok passes on from what is missing; leave it "null"', "on_missing")
    counted = component.role in ("primary", "auxiliary")
    if counted and component.weight != 1 and recipe.compose.operator in _UNWEIGHTED:
        raise fault(f"operator {recipe.compose.operator!r} takes no weights", "weight")


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
            f"min_gap: the primary {primary.judge.name!r} is soft, so right and wrong can earn "
            "nearly the same and any auxiliary weight outranks the verdict; set min_gap (answers "
            f"with |2p−1| below it abstain) to more than {slivers / primary.weight:g}",
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


def _check_range(recipe: Recipe, parts: tuple[Part, ...]) -> tuple[float, float]:
    compose = recipe.compose
    most = 1.0
    if compose.operator in ("sum", "lexi_sum"):
        most = sum(part.weight for part in parts if part.role in ("primary", "auxiliary"))
    attainable = (compose.floor, most)
    if compose.range is not None and compose.range != attainable:
        raise Fault(
            f"range: this recipe earns from {attainable[0]:g} (the floor) to {attainable[1]:g}, "
            f"not {compose.range[0]:g} to {compose.range[1]:g}; correct the range, the floor or "
            "the weights",
            "compose",
            key="range",
        )
    return attainable
