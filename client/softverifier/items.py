"""What goes out: one completion with what is needed to judge it, as JSON that every server reads.

An item is a plain mapping as in the HTTP interface, or an ``Item``. What a trainer's data set
does to it is undone here: None fields are left out (data sets of mixed tasks fill them in), numpy
scalars and arrays become numbers and lists, lone surrogates become U+FFFD. What JSON cannot carry
(NaN, sets, objects) is a ``BadItem``, which costs that item its reward and its neighbours nothing.
Whether the fields make sense is for the server to say.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Final


class BadItem(ValueError):
    """This item cannot be sent; the message names the field."""


@dataclass(frozen=True, slots=True)
class Item:
    """One completion with what is needed to judge it.

    Attributes:
        completion: text, or chat messages of which the last assistant message counts.
        task: its ``type`` and that type's fields, e.g. ``{"type": "perturbation.de",
            "perturbation": "AARS1", "gene": "CALR", "cell_line": "k562"}``.
        truth: what the request itself knows: a label, a number, a list, or soft labels
            ``{"classes": ["no", "yes"], "confidences": [0.137, 0.863]}``.
        keywords: terms that the reasoning should mention.
        id: echoed.
        group: completions of one prompt share it.
        prompt: text or messages, where the profile needs it.
        weight: how far the truth is trusted, in [0, 1]; multiplies the reward's weight.
        split: the item's split (id, ood, …) for the server's metrics.
    """

    completion: str | Sequence[Mapping[str, Any]] | None = None
    task: Mapping[str, Any] | None = None
    truth: Any = None
    keywords: Sequence[str] | None = None
    id: str | int | None = None
    group: str | int | None = None
    prompt: str | Sequence[Mapping[str, Any]] | None = None
    weight: float | None = None
    split: str | None = None


ItemLike = Item | Mapping[str, Any]
_FIELDS: Final = tuple(field.name for field in fields(Item))


def plain(item: ItemLike) -> dict[str, Any]:
    """The item as a dict without None fields, its task likewise.

    Raises:
        BadItem: it is neither a mapping nor an ``Item``.
    """
    if isinstance(item, Item):
        found = {name: getattr(item, name) for name in _FIELDS}
    elif isinstance(item, Mapping):
        found = dict(item)
    else:
        raise BadItem(
            f"an item is {type(item).__name__}, expected a dict with 'completion' and 'task'"
        )
    found = {key: value for key, value in found.items() if value is not None}
    task = found.get("task")
    if isinstance(task, Mapping) and None in task.values():
        found["task"] = {key: value for key, value in task.items() if value is not None}
    return found


def identity(item: ItemLike) -> str | int | None:
    """The item's id where it has one that can be echoed."""
    found = item.id if isinstance(item, Item) else None
    if isinstance(item, Mapping):
        found = item.get("id")
    return found if isinstance(found, str | int) and not isinstance(found, bool) else None


def encoded(item: ItemLike) -> bytes:
    """The item as UTF-8 JSON.

    Raises:
        BadItem: JSON cannot carry it.
    """
    found = plain(item)
    try:
        text = _ENCODER.encode(found)
    except (TypeError, ValueError, RecursionError) as error:
        raise BadItem(_fault(found, "item") or f"item cannot be written as JSON: {error}") from None
    try:
        return text.encode()
    except UnicodeEncodeError:
        return without_lone_surrogates(text).encode()


def without_lone_surrogates(text: str) -> str:
    """Surrogate pairs joined to the character they stand for, lone ones replaced by U+FFFD."""
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def natural(value: object) -> Any:
    """A numpy scalar or array as a Python number or list; anything else is not JSON.

    Raises:
        TypeError: it is not one of those.
    """
    if isinstance(value, Mapping):
        return dict(value)
    tolist = getattr(value, "tolist", None)
    if tolist is None:
        raise TypeError(f"{type(value).__name__} is not JSON")
    return tolist()


_ENCODER: Final = json.JSONEncoder(
    ensure_ascii=False, allow_nan=False, separators=(",", ":"), default=natural
)


def _fault(value: object, path: str, depth: int = 0) -> str | None:
    """Where the first value lies that JSON cannot carry."""
    if depth > 32:
        return f"{path} is nested deeper than 32 levels"
    if isinstance(value, float) and not math.isfinite(value):
        return f"{path} is {value}, which JSON cannot carry; leave it out or use None"
    if isinstance(value, Mapping):
        parts = [(f"{path}.{key}", part) for key, part in value.items()]
    elif isinstance(value, list | tuple):
        parts = [(f"{path}[{row}]", part) for row, part in enumerate(value)]
    elif value is None or isinstance(value, str | bool | int | float):
        return None
    elif hasattr(value, "tolist"):
        return _fault(value.tolist(), path, depth + 1)
    else:
        return f"{path} is {type(value).__name__}, which JSON cannot carry"
    return next((found for name, part in parts if (found := _fault(part, name, depth + 1))), None)
