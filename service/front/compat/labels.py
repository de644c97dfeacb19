"""A trainer's label as an item: the one column of a data set that most trainers pass on.

A label is an object or its JSON text: a task (``{"type": …}``), or columns as ``cells`` reads them
(``task``, ``truth``, ``keywords``, rbio's ``classes`` and ``class_confidences``, ``profile``,
``group``, ``weight``, ``split``, and ``step`` or ``global_step``). Anything else is the truth.
Without a task the prompt is read by rbio's template, and an item without either is judged as it is:
the profile says what is missing.

Entities come from the label or the prompt, never from the completion. Limits: unknown columns of a
label are ignored, since rows of data sets carry much that is nobody's business here.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any, Final, NamedTuple

from service.errors import MalformedBody
from service.front import wire
from service.front.compat.questions import task_of
from service.requests import MOST_STEP, BadItem
from service.rewards.cells import item_of
from service.rewards.core import Item

_OWN: Final = frozenset({"prompt", "completion"})
STEPS: Final = ("step", "global_step", "global_steps")
"""Columns that hold the step of training; the first that holds a whole number from 0 counts."""


class Sample(NamedTuple):
    """One completion to be judged."""

    profile: str | None
    """The recipe that its label names."""
    item: Item | BadItem
    group: Hashable = None
    """What the completions of one prompt share; None: not known."""
    step: int | None = None
    """Of training, for metrics and the audit log."""


def sample_of(index: int, prompt: Any, completion: Any, label: Any) -> Sample:
    """What a trainer's columns say of one sample. Never raises: what is wrong is in the item.

    Args:
        index: place in the request, for messages.
        prompt: text or messages; None where it is not known.
        completion: text or messages; a ``BadItem`` where it could not be found.
        label: any JSON value.
    """
    profile = step = None
    item: Item | BadItem
    try:
        columns = _columns(label)
        step = _step(columns)
        profile = columns.pop("profile", None)
        made = wire.clean(item_of({name: columns[name] for name in columns if name not in _OWN}))
    except (ValueError, TypeError, RecursionError) as error:  # a column of another type than read
        item = BadItem(None, f"items[{index}].label: {error}")
    else:
        item = _item(index, made, prompt, completion)
    group = getattr(item, "group", None)
    if group is None and isinstance(prompt, str):
        group = prompt
    return Sample(profile if isinstance(profile, str) else None, item, group, step)


def _step(columns: dict[str, Any]) -> int | None:
    """The step that the columns state, taken out of them; what else bears the name is ignored."""
    stated = [columns.pop(name, None) for name in STEPS]
    whole = (one for one in stated if isinstance(one, int) and not isinstance(one, bool))
    return next((one for one in whole if 0 <= one < MOST_STEP), None)


def _item(index: int, made: dict[str, Any], prompt: Any, completion: Any) -> Item | BadItem:
    if isinstance(completion, BadItem):
        return completion
    made["completion"] = completion
    if prompt is not None:
        made["prompt"] = prompt
        if "task" not in made:
            task = task_of(prompt if isinstance(prompt, str) else _asked(prompt))
            if task is not None:
                made["task"] = task
    return wire.read_item(made, index)


def _columns(label: Any) -> dict[str, Any]:
    if isinstance(label, str) and label.lstrip()[:1] == "{":
        try:
            label = wire.parse(label.encode())
        except MalformedBody as error:
            raise ValueError(f"it begins like JSON, but {error.message}") from None
    if label is None:
        return {}
    if not isinstance(label, dict):
        return {"truth": label}
    if "task" not in label and "type" in label:
        beside = {name: label[name] for name in ("profile", *STEPS) if name in label}
        return {**beside, "task": {n: label[n] for n in label if n not in beside}}
    return dict(label)


def _asked(messages: Any) -> str:
    """The text of all that is no answer: the question stands there."""
    if not isinstance(messages, list):
        return ""
    said = [one for one in messages if isinstance(one, dict) and one.get("role") != "assistant"]
    return "\n".join(_text(one.get("content")) for one in said)


def _text(content: Any) -> str:
    if isinstance(content, str):
        return content
    parts = content if isinstance(content, list) else []
    texts = (part.get("text") for part in parts if isinstance(part, dict))
    return "".join(text for text in texts if isinstance(text, str))
