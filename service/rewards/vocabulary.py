"""The closed set of answers that a task allows, and the reading of one answer string.

An answer is a class of the vocabulary, letter for letter, after surrounding blanks, letter case
and one final period are taken away. "yes, it does", "affirmative" and "true" are not "yes": each
synonym that is let in is one more string that means an answer by accident, and the prompt states
the classes. Directions are the exception: ``core.PerturbationDir`` asks whether expression goes
up, so that "yes" is "up", and prompts of that task are written both ways.

Not covered: letters that stand for options ("A", "(b)").
"""

from __future__ import annotations

import functools
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from service.rewards.core import Reason
from service.rewards.forms import Claim, FormFault, blank, normal
from service.rewards.tasks import Label, PerturbationDir, Task

MAX_FORMS: Final = 1000
"""Classes and synonyms of one label task."""


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """What may be answered.

    Attributes:
        labels: the canonical classes.
        forms: every accepted form, as ``normal`` writes it, to its class.
        positive: the class whose probability a world model states; None where there is none.
    """

    labels: tuple[str, ...]
    forms: Mapping[str, str]
    positive: str | None = None

    def read(self, text: str) -> str | None:
        """The class that ``text`` names, None if it is none."""
        return self.forms.get(normal(text))

    def claim(self, text: str) -> Claim:
        """The class that an answer names, or why it names none."""
        label = self.forms.get(normal(text))
        if label is not None:
            return Claim(Reason.OK, label)
        return Claim(Reason.NO_ANSWER if blank(text) else Reason.ANSWER_NOT_IN_VOCABULARY)


YES_NO: Final = Vocabulary(("yes", "no"), {"yes": "yes", "no": "no"}, "yes")
UP_DOWN: Final = Vocabulary(
    ("up", "down"), {"up": "up", "yes": "up", "down": "down", "no": "down"}, "up"
)


def vocabulary_of(task: Task | None) -> Vocabulary:
    """The vocabulary of a task of classes; yes/no where an item has no task.

    Raises:
        FormFault: a label task without classes, or with classes that collide.
    """
    if isinstance(task, Label):
        synonyms = tuple((label, tuple(forms)) for label, forms in task.synonyms.items())
        return _of_label(tuple(task.classes), synonyms)
    return UP_DOWN if isinstance(task, PerturbationDir) else YES_NO


@functools.lru_cache(maxsize=1024)
def _of_label(
    classes: tuple[str, ...], synonyms: tuple[tuple[str, tuple[str, ...]], ...]
) -> Vocabulary:
    if len(classes) < 2:
        raise FormFault(f"task.classes: expected two classes or more, got {len(classes)}")
    forms: dict[str, str] = {}
    for index, label in enumerate(classes):
        _add(forms, label, label, f"task.classes[{index}]")
    for label, others in synonyms:
        if label not in classes:
            raise FormFault(f"task.synonyms: {label!r} is not one of task.classes")
        for index, form in enumerate(others):
            _add(forms, form, label, f"task.synonyms[{label!r}][{index}]")
    positive = "yes" if set(classes) == {"yes", "no"} else None
    return Vocabulary(classes, forms, positive)


def _add(forms: dict[str, str], form: str, label: str, where: str) -> None:
    key = normal(unicodedata.normalize("NFC", form[:1000]))
    if not key or len(form) > 1000:
        raise FormFault(f"{where}: expected 1 to 1,000 characters, got {len(form)}")
    if forms.get(key, label) != label or (form == label and key in forms):
        raise FormFault(f"{where}: {form!r} reads the same as another class or synonym")
    if len(forms) >= MAX_FORMS:
        raise FormFault(f"{where}: more than {MAX_FORMS} classes and synonyms")
    forms[key] = label
