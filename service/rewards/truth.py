"""The truth that a request carries, read once: soft labels, or one hard label.

Soft labels are rbio's columns: a confidence in [0,1] for each class, every class of the
vocabulary exactly once. A hard label is a class, or for vocabularies with a positive class (yes,
up) a boolean, 1 or 0. Confidences need not sum to 1: rbio pays the claimed class's own number.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping

from service.rewards.core import Item, Reason, SoftLabels
from service.rewards.vocabulary import Vocabulary


def truth_fault(item: Item, vocabulary: Vocabulary) -> tuple[Reason, str] | None:
    """What is wrong with ``item.truth``; None if it is fine or absent."""
    truth = item.truth
    if truth is None:
        return None
    if isinstance(truth, SoftLabels):
        message = _soft_fault(truth, vocabulary)
    elif hard_label(truth, vocabulary) is None:
        message = f"truth: expected {_expected(vocabulary)}, got {_shown(truth)}"
    else:
        message = None
    return None if message is None else (Reason.BAD_TRUTH, message)


def _soft_fault(truth: SoftLabels, vocabulary: Vocabulary) -> str | None:
    if len(truth.classes) != len(truth.confidences):
        return (
            f"truth: {len(truth.classes)} classes but {len(truth.confidences)} confidences; "
            "each class needs one"
        )
    labels = [_label(name, vocabulary) for name in truth.classes]
    for index, (name, label) in enumerate(zip(truth.classes, labels, strict=True)):
        if label is None:
            return f"truth.classes[{index}]: expected {_expected(vocabulary)}, got {_shown(name)}"
        if not 0.0 <= truth.confidences[index] <= 1.0:
            return f"truth.confidences[{index}]: {truth.confidences[index]} is not in [0, 1]"
    if len(labels) != len(vocabulary.labels) or len(set(labels)) != len(labels):
        return f"truth.classes: expected each of {_listed(vocabulary)} once, got {truth.classes}"
    return None


def confidences(truth: SoftLabels, vocabulary: Vocabulary) -> Mapping[str, float]:
    """Confidence of each class; for a truth that ``truth_fault`` passes."""
    named = zip(truth.classes, truth.confidences, strict=True)
    return {label: value for name, value in named if (label := _label(name, vocabulary))}


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


def _label(name: str, vocabulary: Vocabulary) -> str | None:
    return vocabulary.read(name if name.isascii() else unicodedata.normalize("NFC", name[:1000]))


def _listed(vocabulary: Vocabulary) -> str:
    return ", ".join(vocabulary.labels[:12]) + (", …" if len(vocabulary.labels) > 12 else "")


def _expected(vocabulary: Vocabulary) -> str:
    numbers = ", true/false or 1/0" if vocabulary.positive is not None else ""
    return f"one of {_listed(vocabulary)}{numbers}"


def _shown(value: object) -> str:
    return repr(value)[:80]
