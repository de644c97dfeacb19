"""The truth that a request carries, read once: soft labels, or one hard label.

Soft labels are rbio's columns: a confidence in [0,1] for each class, every class of the
vocabulary exactly once. A hard label is a class, or for vocabularies with a positive class (yes,
up) a boolean, 1 or 0. Confidences need not sum to 1: rbio pays the claimed class's own number.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from typing import Any, Final

from service.rewards.core import Item, Reason
from service.rewards.vocabulary import Vocabulary

_SOFT: Final = {"classes", "confidences"}


def truth_fault(item: Item, vocabulary: Vocabulary) -> tuple[Reason, str] | None:
    """What is wrong with ``item.truth``; None if it is fine or absent."""
    truth = item.truth
    if truth is None:
        return None
    if isinstance(truth, dict):
        message = _soft_fault(truth, vocabulary)
    elif hard_label(truth, vocabulary) is None:
        message = f"truth: expected {_expected(vocabulary)}, got {_shown(truth)}"
    else:
        message = None
    return None if message is None else (Reason.BAD_TRUTH, message)


def _soft_fault(truth: Mapping[str, Any], vocabulary: Vocabulary) -> str | None:
    if truth.keys() != _SOFT:
        return f"truth: expected `classes` and `confidences`, got {_shown(sorted(truth))}"
    classes, values = truth["classes"], truth["confidences"]
    if _sound(classes, values, vocabulary):
        return None
    for name, column in (("classes", classes), ("confidences", values)):
        if not isinstance(column, list):
            return f"truth.{name}: expected a list, got {_shown(column)}"
    if len(classes) != len(values):
        return f"truth: {len(classes)} classes but {len(values)} confidences; each class needs one"
    labels = [_label(name, vocabulary) for name in classes]
    for index, (name, label) in enumerate(zip(classes, labels, strict=True)):
        if label is None:
            return f"truth.classes[{index}]: expected {_expected(vocabulary)}, got {_shown(name)}"
        value = values[index]
        if value is True or value is False or not isinstance(value, float | int):
            return f"truth.confidences[{index}]: expected a number, got {_shown(value)}"
        if not 0.0 <= value <= 1.0:
            return f"truth.confidences[{index}]: {value} is not in [0, 1]"
    if len(labels) != len(vocabulary.labels) or len(set(labels)) != len(labels):
        return f"truth.classes: expected each of {_listed(vocabulary)} once, got {classes}"
    return None


def _sound(classes: object, values: object, vocabulary: Vocabulary) -> bool:
    """Whether the columns are what they nearly always are: each class once, with a float."""
    if type(classes) is not list or type(values) is not list:
        return False
    if not len(classes) == len(values) == len(vocabulary.labels):
        return False
    for value in values:
        if type(value) is not float or not 0.0 <= value <= 1.0:
            return False
    labels = {_label(name, vocabulary) for name in classes}
    return len(labels) == len(classes) and None not in labels


def confidences(truth: Mapping[str, Any], vocabulary: Vocabulary) -> Mapping[str, float]:
    """Confidence of each class; for a truth that ``truth_fault`` passes."""
    named = zip(truth["classes"], truth["confidences"], strict=True)
    return {label: float(value) for name, value in named if (label := _label(name, vocabulary))}


def hard_label(truth: object, vocabulary: Vocabulary) -> str | None:
    """The class that a hard truth names; None if it names none."""
    if isinstance(truth, str):
        return _label(truth, vocabulary)
    if vocabulary.positive is not None and isinstance(truth, bool | int | float):
        if truth == 1:
            return vocabulary.positive
        if truth == 0:
            return next(label for label in vocabulary.labels if label != vocabulary.positive)
    return None


def _label(name: object, vocabulary: Vocabulary) -> str | None:
    if not isinstance(name, str):
        return None
    return vocabulary.read(name if name.isascii() else unicodedata.normalize("NFC", name[:1000]))


def _listed(vocabulary: Vocabulary) -> str:
    return ", ".join(vocabulary.labels[:12]) + (", …" if len(vocabulary.labels) > 12 else "")


def _expected(vocabulary: Vocabulary) -> str:
    numbers = ", true/false or 1/0" if vocabulary.positive is not None else ""
    return f"one of {_listed(vocabulary)}{numbers}"


def _shown(value: object) -> str:
    return repr(value)[:80]
