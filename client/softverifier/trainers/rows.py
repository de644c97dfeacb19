"""A trainer's row (its data set's columns, or one label) as an item to be scored.

Columns that count: ``task`` (an object, JSON text, or the name of a type beside flat fields),
``truth``, ``keywords``, ``weight``, ``group``, ``split``; flat ``perturbation``, ``gene``,
``cell_line``, ``genes``, ``context``, ``head``, ``relation``, ``tail`` in place of a task; rbio's
``classes`` and ``class_confidences`` ("no|yes", "0.137|0.863"). Every other column stays at home.
A label is the same as one object or as JSON text; a bare task (an object with a ``type``); or, if
it is neither, the truth itself. Where no task is stated, a prompt in rbio's wording is one.

The task is never read from the completion. What is missing is left out: the server says what it
lacks, and the item abstains or fails by name instead of earning a number.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

FLAT: Final = (
    "perturbation", "gene", "cell_line", "genes", "context", "head", "relation", "tail",
)  # fmt: skip
COUNTED: Final = (
    *FLAT, "task", "truth", "keywords", "weight", "group", "split", "classes", "class_confidences",
)  # fmt: skip
SYNONYMS: Final = {"pert": "perturbation", "readout": "gene"}
_READ: Final = frozenset((*COUNTED, *SYNONYMS))
_NAME: Final = r"[A-Za-z0-9](?:[A-Za-z0-9@._/-]{0,38}[A-Za-z0-9])?"
_LINE: Final = r"[A-Za-z0-9](?:[A-Za-z0-9 ._/-]{0,38}[A-Za-z0-9])?"
RBIO: Final = re.compile(
    rf"Is a knockdown of (?P<perturbation>{_NAME}) in (?P<cell_line>{_LINE}) cells likely to "
    rf"result in differential expression of (?P<gene>{_NAME})\? "
    r"The answer is either yes or no\."
)
OPENING: Final = "Is a knockdown of"
"""The question of rbio-1 (bioRxiv 2025.08.18.670981)."""


def item_of(
    columns: Mapping[str, Any],
    completion: Any,
    *,
    label: Any = None,
    prompt: Any = None,
    task_type: str | None = None,
) -> dict[str, Any]:
    """The item that a row stands for.

    Args:
        columns: by name; may hold anything.
        completion: text, messages, or None, which counts as empty.
        label: one more source of columns; what it states goes over ``columns``.
        prompt: text or messages, read only where no task is stated.
        task_type: of flat fields without a stated type, where the profile judges only one.
    """
    said = "" if completion is None else completion
    bare = isinstance(label, dict) and "type" in label and "task" not in label
    if bare and _READ.isdisjoint(columns) and None not in label.values():
        return {"completion": said, "task": label}  # nearly every row of a step
    cells: dict[str, Any] = {}
    for name, value in columns.items():
        if name in _READ and _given(value):
            cells[SYNONYMS.get(name, name)] = value
    if label is not None and _given(label):
        cells.update(labelled(label))
    item: dict[str, Any] = {"completion": said}
    if len(cells) == 1 and isinstance(cells.get("task"), dict):  # nearly every row of a step
        item["task"] = _task(cells, task_type)
        return item
    for name in ("group", "weight"):
        if name in cells:
            item[name] = cells[name]
    if "split" in cells:
        item["split"] = str(cells["split"])
    task = _task(cells, task_type) or asked_in(prompt)
    if task is not None:
        item["task"] = task
    truth = _truth(cells, task or {})
    if truth is not None:
        item["truth"] = truth
    if "keywords" in cells:
        item["keywords"] = _names(cells["keywords"])
    return item


def labelled(label: Any) -> dict[str, Any]:
    """The columns that one label stands for."""
    found = label if isinstance(label, dict) else _plain(label)
    if isinstance(found, str) and found.lstrip()[:1] == "{":
        try:
            found = json.loads(found)
        except (ValueError, RecursionError):
            return {"truth": label}
    if not isinstance(found, Mapping):
        return {"truth": found}
    if "type" in found and "task" not in found:
        return {"task": dict(found)}
    cells = {SYNONYMS.get(str(name), str(name)): value for name, value in found.items()}
    if any(name in cells for name in COUNTED):
        return {name: value for name, value in cells.items() if _given(value)}
    return {"truth": dict(found)}


def asked_in(prompt: Any) -> dict[str, Any] | None:
    """The task that a prompt in rbio's wording asks; None unless it asks exactly one."""
    text = text_of(prompt)
    found = [match.groupdict() for match in RBIO.finditer(text)]
    if not found or len(found) != text.count(OPENING) or any(one != found[0] for one in found):
        return None
    return {"type": "perturbation.de", **found[0]}


def text_of(prompt: Any) -> str:
    """The text of a prompt: itself, or what the messages before the answer say."""
    if isinstance(prompt, str):
        return prompt
    if not isinstance(prompt, Sequence):
        return ""
    said = (message.get("content") for message in prompt if isinstance(message, Mapping))
    return "\n".join(_text(content) for content in said)


def _text(content: Any) -> str:
    if isinstance(content, str):
        return content
    if isinstance(content, Sequence):
        return "".join(str(part.get("text", "")) for part in content if isinstance(part, Mapping))
    return ""


def group_of(prompt: Any) -> str:
    """A name for the group of completions that share a prompt."""
    return prompt if isinstance(prompt, str) else json.dumps(prompt, sort_keys=True, default=str)


def rows_of(columns: Mapping[str, Any], count: int) -> list[dict[str, Any]]:
    """Columns of a batch as rows; a column that is no list of ``count`` values is left out."""
    kept = {
        name: values
        for name, values in columns.items()
        if (name in COUNTED or name in SYNONYMS or name in LABELS)
        and not isinstance(values, str | bytes | Mapping)
        and hasattr(values, "__len__")
        and len(values) == count
    }
    return [{name: values[row] for name, values in kept.items()} for row in range(count)]


LABELS: Final = ("label", "ground_truth", "solution", "answer")
"""Columns that trainers use for the one label; the first that is there is read as one."""


def label_in(row: Mapping[str, Any]) -> Any:
    """The row's label column, None if it has none."""
    return next((row[name] for name in LABELS if _given(row.get(name))), None)


def _plain(value: Any) -> Any:
    """A numpy scalar or array as Python has it."""
    tolist = getattr(value, "tolist", None)
    return value if tolist is None else tolist()


def _given(value: Any) -> bool:
    if value is None or (isinstance(value, str) and not value):
        return False
    return not (isinstance(value, float) and math.isnan(value))


def _names(value: Any) -> Any:
    if isinstance(value, str):
        return [part.strip() for part in value.split("|") if part.strip()]
    return _plain(value)


def _task(cells: Mapping[str, Any], task_type: str | None) -> Any:
    stated = cells.get("task")
    if isinstance(stated, dict) and None not in stated.values():
        return stated
    stated = _plain(stated)
    if isinstance(stated, str) and stated.lstrip().startswith("{"):
        try:
            stated = json.loads(stated)
        except (ValueError, RecursionError):
            return {"type": stated}  # the server names what is wrong
    if isinstance(stated, Mapping):
        return {key: value for key, value in stated.items() if value is not None}
    flat = {name: cells[name] for name in FLAT if name in cells}
    if "genes" in flat:
        flat["genes"] = _names(flat["genes"])
    if stated is None and flat:
        stated = task_type or (
            "perturbation.de" if "perturbation" in flat and "gene" in flat else None
        )
    return None if stated is None else {"type": stated, **flat}


def _truth(cells: Mapping[str, Any], task: Mapping[str, Any]) -> Any:
    if "truth" in cells:
        truth = _plain(cells["truth"])
        return truth if _is_text(truth, task) else _json_or_text(truth)
    if "classes" not in cells or "class_confidences" not in cells:
        return None
    stated = cells["class_confidences"]
    words = _names(stated)
    try:
        confidences: Any = [float(word) for word in words]
    except (TypeError, ValueError):
        confidences = stated  # the server names what is wrong
    return {"classes": _names(cells["classes"]), "confidences": confidences}


def _is_text(truth: Any, task: Mapping[str, Any]) -> bool:
    """Whether a truth is to be taken literally: a label that looks like JSON ("1", "true")."""
    if not isinstance(truth, str):
        return True
    kind, options = task.get("type"), task.get("options") or {}
    if kind == "text" or task.get("rule") == "string_eq" or truth in (task.get("classes") or ()):
        return True
    if kind != "label":
        return False
    open_name = not task.get("classes") and not options and truth.lstrip()[:1] not in ("[", "{")
    return open_name or truth in options or truth in options.values()


def _json_or_text(value: str) -> Any:
    """Lists, objects, numbers and booleans as JSON says; everything else is a label."""
    try:
        found = json.loads(value)
    except (ValueError, RecursionError):
        return value
    finite = not isinstance(found, float) or math.isfinite(found)
    return found if finite and found is not None else value
