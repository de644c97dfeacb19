"""NeMo Gym: a resources server that scores here, read in August 2026.

    cp -r "$(softverifier path nemo_gym)" resources_servers/soft_verifier
    ng_run "+config_paths=[resources_servers/soft_verifier/configs/soft_verifier.yaml,…]"

Gym starts every server itself and cannot be given a foreign URL, so the folder holds a server of
a few lines (``app.py``) that hands each ``/verify`` to ``verified``. The row's columns, or its
``verifier_metadata``, say the task. verifiers, prime-rl and Axolotl can name the server's own Gym
routes instead.

    ok, invalid      the number, mask_sample false
    abstain, error   the neutral number with mask_sample true (at the top and under
                     instance_config), failure_kind and failure_reason; with on_failure=raise an
                     exception, which Gym answers with a status that is no success
    outage           as error, after the deadline

``reward_components`` sum to the reward, as NeMo-RL demands: one entry, the profile's name. The
components' own scores are numeric fields at the top, which Gym averages.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from softverifier.rewards import Reward
from softverifier.trainers.outcomes import figures
from softverifier.trainers.recipes import Recipe
from softverifier.trainers.rows import COUNTED, item_of, label_in
from softverifier.trainers.scorer import scorer_named

NESTED: Final = ("verifier_metadata", "metadata")
KINDS: Final = {"abstain": "soft_verifier:abstain", "error": "soft_verifier:error"}


async def verified(row: Mapping[str, Any]) -> dict[str, Any]:
    """The answer to ``POST /verify``: the row echoed, and what was found of it.

    Args:
        row: the request: ``responses_create_params``, ``response``, and the data set's fields.

    Raises:
        NoReward: there is no number to give.
        SoftVerifierError: as ``scorer`` says.
    """
    scorer = scorer_named("nemo-gym")
    recipe = await scorer.arecipe()
    (given,) = await scorer.ascore([_item(row, recipe.task_type)])
    return {**row, **outcome(given, scorer.number(given), recipe, row)}


def outcome(given: Reward, number: float, recipe: Recipe, row: Mapping[str, Any]) -> dict[str, Any]:
    """The fields that a verified row has more than the request had; never a NaN."""
    masked = given.reward is None
    found: dict[str, Any] = {
        "reward": number,
        "reward_components": {recipe.name: number},
        "mask_sample": masked,
        **figures(given, number, recipe),
    }
    if masked:
        found["failure_kind"] = KINDS[given.status]
        found["failure_reason"] = f"{given.reason}: {given.message or given.status}"
        found["instance_config"] = {**(row.get("instance_config") or {}), "mask_sample": True}
    return found


def _item(row: Mapping[str, Any], kind: str | None) -> dict[str, Any]:
    cells = {name: value for name, value in row.items() if name in COUNTED}
    for name in NESTED:
        nested = row.get(name)
        if isinstance(nested, Mapping):
            cells = {**{key: nested[key] for key in nested if key in COUNTED}, **cells}
    asked = (row.get("responses_create_params") or {}).get("input")
    label = None if "truth" in cells else label_in(row)
    return item_of(cells, answer_in(row.get("response")), label=label, prompt=asked, task_type=kind)


def answer_in(response: Any) -> list[Any]:
    """The output items of a Responses object; the server finds the answer among them."""
    return list((response or {}).get("output") or ())
