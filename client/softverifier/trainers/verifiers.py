"""verifiers and prime-rl: v1 task rewards (0.3, 0.4) and the legacy Rubric.

    [env.taskset.task.rewards.soft_verifier]
    fn = "softverifier.trainers.verifiers:reward"

    Rubric(funcs=[softverifier.trainers.verifiers.legacy_reward])
    Rubric(funcs=[softverifier.trainers.verifiers.legacy_rewards])      # sees the whole group

v1 gives the task's data and the trace; the task's own fields and its ``info`` are the columns. The
answer is the last assistant message, its reasoning included.

                     v1                          legacy
    ok, invalid      the number                  the number
    abstain, error   NoReward is raised, the     the group's mean where the group is seen, else the
                     trace is dropped            neutral number: the Rubric would turn an exception
                                                 into 0.0
    outage           as error, after the deadline

Legacy therefore ignores ``on_failure="raise"``, waits for a server that was never reached for as
long as it takes, and ends the process (``SystemExit``) where the server refuses: wrong key, wrong
profile. It is part of verifiers up to 0.3; 0.4 has v1 alone.

v1 records the components as metrics of the trace; legacy leaves them in
``state["soft_verifier"]``.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

from softverifier.errors import NoReward, ServerUnavailable
from softverifier.rewards import Reward
from softverifier.trainers.outcomes import figures, levelled, no_reward, unswallowed
from softverifier.trainers.recipes import Recipe
from softverifier.trainers.rows import COUNTED, group_of, item_of, label_in
from softverifier.trainers.scorer import LOG, Scorer, scorer_named

PATIENCE_S: Final = 50.0
"""Below the minute that verifiers allows a scoring call by default."""


async def reward(task: Any, trace: Any) -> float:
    """The reward of a v1 trace.

    Raises:
        NoReward: there is none; verifiers drops the trace.
        SoftVerifierError: as ``scorer`` says.
    """
    scorer = scorer_named("verifiers", PATIENCE_S)
    row = _fields(task)
    try:
        recipe = await scorer.arecipe()
        item = _item(row, _said(trace), row.get("prompt"), recipe.task_type)
        (given,) = await scorer.ascore([item])
    except asyncio.CancelledError as cut:
        # An expired timeout.scoring leaves a trace that counts as good, and whose rewards sum to 0.
        raise NoReward("cut off by verifiers; raise timeout.scoring of the agent") from cut
    if given.reward is None:
        raise no_reward(given)
    record = getattr(trace, "record_metrics", None)
    if record is not None:
        record(figures(given, given.reward, recipe))
    return given.reward


async def legacy_reward(
    prompt: Any, completion: Any, answer: Any, state: Any, info: Any = None, task: Any = None
) -> float:
    """The reward of one rollout of a legacy Rubric; ``SystemExit`` for what the server refuses."""
    with unswallowed():
        scorer, recipe = await _legacy()
        item = _legacy_item(prompt, completion, answer, info, task, recipe.task_type)
        (given,) = await scorer.ascore([item])
    number = scorer.number_at_last(given)
    _leave(state, given, number, recipe)
    return number


async def legacy_rewards(
    prompts: Sequence[Any],
    completions: Sequence[Any],
    answers: Sequence[Any],
    states: Sequence[Any],
    infos: Sequence[Any] | None = None,
    tasks: Sequence[Any] | None = None,
) -> list[float]:
    """``legacy_reward`` for a group: parameters in the plural make the Rubric hand over all."""
    with unswallowed():
        scorer, recipe = await _legacy()
        kind = recipe.task_type
        nothing = [None] * len(completions)
        columns = (prompts, completions, answers, infos or nothing, tasks or nothing)
        items = [_legacy_item(*row, kind) for row in zip(*columns, strict=True)]
        rewards = await scorer.ascore(items)
    groups = [group_of(_plain(prompt)) for prompt in prompts]
    numbers = levelled(rewards, groups, scorer.neutral)
    for state, given, number in zip(states, rewards, numbers, strict=True):
        _leave(state, given, number, recipe)
    return numbers


async def _legacy() -> tuple[Scorer, Recipe]:
    """The scorer, once its server was reached: an exception here would become a zero."""
    scorer = scorer_named("verifiers-legacy", on_failure="neutral")
    while True:
        try:
            return scorer, await scorer.arecipe()
        except ServerUnavailable as error:
            LOG.warning("soft-verifier: still waiting: %s", error)
            await asyncio.sleep(1.0)


def _legacy_item(
    prompt: Any, completion: Any, answer: Any, info: Any, task: Any, kind: str | None
) -> dict[str, Any]:
    row = {**_columns(task), **_fields(info)}
    if answer not in (None, ""):
        row.setdefault("answer", answer)
    return _item(row, _plain(completion), _plain(prompt), kind)


def _columns(task: Any) -> dict[str, Any]:
    """What ``state["task"]`` says: a task of ours, the whole row (0.3), or a mere name (before)."""
    row = _fields(task)
    if "type" in row and "prompt" not in row:
        return {"task": row}
    return {name: row[name] for name in row if name in COUNTED}


def _plain(messages: Any) -> Any:
    """Messages as objects of JSON; 0.3 has models of them."""
    if not isinstance(messages, list | tuple):
        return messages
    return [one.model_dump() if hasattr(one, "model_dump") else one for one in messages]


def _item(row: Mapping[str, Any], completion: Any, prompt: Any, kind: str | None) -> dict[str, Any]:
    label = None if "truth" in row else label_in(row)
    return item_of(row, completion, label=label, prompt=prompt, task_type=kind)


def _fields(task: Any) -> dict[str, Any]:
    """A task's own fields with those of its ``info``, which may be JSON text, beneath them."""
    if hasattr(task, "data") and not isinstance(task, Mapping):
        task = task.data
    dump = getattr(task, "model_dump", None)
    row = dict(dump()) if dump is not None else dict(task) if isinstance(task, Mapping) else {}
    info = row.pop("info", None)
    if isinstance(task, str) or isinstance(info, str):
        try:
            info = json.loads(task if isinstance(task, str) else str(info))
        except ValueError:
            info = None
        if isinstance(task, str) and isinstance(info, Mapping) and "type" in info:
            return dict(info)
    below = info if isinstance(info, Mapping) else {}
    return {**{name: below[name] for name in below if name in COUNTED}, **row}


def _said(trace: Any) -> Any:
    """The last assistant message of a trace; a root agent's reply where it has one."""
    if getattr(trace, "root_reply", None) is not None:
        return trace.root_reply
    messages = list(getattr(trace, "assistant_messages", ()))
    if not messages:
        return ""
    last = messages[-1]
    dump = getattr(last, "model_dump", None)
    raw = dump() if dump is not None else dict(last)
    kept = {name: raw[name] for name in ("content", "reasoning_content") if raw.get(name)}
    return [{"role": "assistant", "content": "", **kept}]


def _leave(state: Any, given: Reward, number: float, recipe: Recipe) -> None:
    if isinstance(state, dict):
        shown = figures(given, number, recipe)
        state["soft_verifier"] = {"status": given.status, "reason": given.reason, **shown}
