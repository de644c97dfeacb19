"""The closed set of answers that a task allows, and the reading of one answer string.

An answer is a class of the vocabulary, letter for letter, after surrounding blanks, letter case
and one final period are taken away. "yes, it does", "affirmative" and "true" are not "yes": each
synonym that is let in is one more string that means an answer by accident, and the prompt states
the classes. Directions are the exception: ``core.PerturbationDir`` asks whether expression goes
up, so that "yes" is "up", and prompts of that task are written both ways.

Options. Where the prompt shows classes behind letters, an answer is the letter alone (``B``, ``b``,
``(B)``, ``B)``, ``B.``), the option's text alone, or both where they agree (``B. kinase``,
``(B) kinase``, ``B: kinase``). What it claims is the class, never the letter, so that shuffled
prompts are judged alike. A letter that is also another class is a fault of the task.
"""

from __future__ import annotations

import functools
import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from service.rewards.core import Reason
from service.rewards.forms import Claim, FormFault, blank, normal
from service.rewards.tasks import Checkpoints, Label, PerturbationDir, Task

MAX_FORMS: Final = 1000
"""Classes and synonyms of one label task."""
_LETTER: Final = re.compile(r"[A-Za-z0-9]{1,3}")
_LETTERED: Final = re.compile(r"(?:\(([a-z0-9]{1,3})\)|([a-z0-9]{1,3})[.):])(?:[ \t]+(.*))?")


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """What may be answered.

    Attributes:
        labels: the canonical classes.
        forms: every accepted form, as ``normal`` writes it, to its class.
        positive: the class whose probability a world model states; None where there is none.
        options: the letter of each option, in lower case, to its class; {} without options.
    """

    labels: tuple[str, ...]
    forms: Mapping[str, str]
    positive: str | None = None
    options: Mapping[str, str] = field(default_factory=dict)

    def __hash__(self) -> int:
        return hash(self.labels)

    def read(self, text: str) -> str | None:
        """The class that ``text`` names, None if it is none."""
        label = self.forms.get(text) if text.isalpha() else None
        if label is not None:  # written as ``normal`` writes it
            return label
        name = normal(text)
        label = self.forms.get(name)
        return self._lettered(name) if label is None and self.options else label

    def claim(self, text: str) -> Claim:
        """The class that an answer names, or why it names none."""
        label = self.read(text)
        if label is not None:
            return Claim(Reason.OK, label)
        return Claim(Reason.NO_ANSWER if blank(text) else Reason.ANSWER_NOT_IN_VOCABULARY)

    def _lettered(self, name: str) -> str | None:
        """The class of a marked letter, with nothing or with its own option behind it."""
        found = _LETTERED.fullmatch(name)
        if found is None:
            return None
        label = self.options.get(found[1] or found[2])
        said = found[3]
        return label if said is None or self.forms.get(said) == label else None


YES_NO: Final = Vocabulary(("yes", "no"), {"yes": "yes", "no": "no"}, "yes")
UP_DOWN: Final = Vocabulary(
    ("up", "down"), {"up": "up", "yes": "up", "down": "down", "no": "down"}, "up"
)


def vocabulary_of(task: Task | None) -> Vocabulary:
    """The vocabulary of a task of classes; yes/no where an item has no task.

    Raises:
        FormFault: a task of labels without classes, or with classes that collide.
    """
    if isinstance(task, Label):
        synonyms = tuple((label, tuple(forms)) for label, forms in task.synonyms.items())
        return closed(tuple(task.classes), synonyms, tuple(task.options.items()))
    if isinstance(task, Checkpoints):
        return closed(tuple(task.classes))
    return UP_DOWN if isinstance(task, PerturbationDir) else YES_NO


@functools.lru_cache(maxsize=256)
def closed(
    classes: tuple[str, ...],
    synonyms: tuple[tuple[str, tuple[str, ...]], ...] = (),
    options: tuple[tuple[str, str], ...] = (),
    least: int = 2,
) -> Vocabulary:
    """A vocabulary of the given classes; of the options' texts where there are no classes.

    Args:
        classes: canonical names.
        synonyms: of a class: other strings that name it.
        options: letter and text; a text names a class.
        least: how many classes there must be.

    Raises:
        FormFault: too few classes, or two that read the same.
    """
    where = "task.classes" if classes or not options else "task.options"
    shown = classes or tuple(text for _, text in options)
    if len(shown) < least:
        instead = "" if options or least == 1 else "; or give the prompt's letters, task.options"
        raise FormFault(f"{where}: expected {_counted(least)} or more, got {len(shown)}{instead}")
    forms: dict[str, str] = {}
    for index, label in enumerate(shown):
        at = f"task.classes[{index}]" if classes else f"task.options[{options[index][0]!r}]"
        _add(forms, label, label, at)
    for label, others in synonyms:
        if label not in shown:
            raise FormFault(f"task.synonyms: {label!r} is not one of {where}")
        for index, form in enumerate(others):
            _add(forms, form, label, f"task.synonyms[{label!r}][{index}]")
    letters = _add_letters(forms, options)
    positive = None
    if len(shown) == 2 and {label.lower() for label in shown} == {"yes", "no"}:
        positive = next(label for label in shown if label.lower() == "yes")
    return Vocabulary(shown, forms, positive, letters)


def _counted(least: int) -> str:
    return {1: "one class", 2: "two classes"}[least]


def _add_letters(forms: dict[str, str], options: tuple[tuple[str, str], ...]) -> dict[str, str]:
    """The letters as forms of the classes that the options' texts name."""
    letters: dict[str, str] = {}
    for letter, text in options:
        where = f"task.options[{letter!r}]"
        label = forms.get(normal(unicodedata.normalize("NFC", text[:1000])))
        if label is None:
            raise FormFault(f"{where}: {text[:80]!r} is none of task.classes")
        if not _LETTER.fullmatch(letter):
            raise FormFault(f"{where}: expected a letter or a number as the option's name")
        if label in letters.values():
            raise FormFault(f"{where}: another option is {label!r} too")
        if letter.lower() in letters:
            raise FormFault(f"{where}: two options have this letter")
        if forms.get(letter.lower()) != label:
            _add(forms, letter, label, where)
        letters[letter.lower()] = label
    if len(letters) == 1:
        raise FormFault("task.options: expected two options or more, got 1")
    return letters


def _add(forms: dict[str, str], form: str, label: str, where: str) -> None:
    key = normal(unicodedata.normalize("NFC", form[:1000]))
    if not key or len(form) > 1000:
        raise FormFault(f"{where}: expected 1 to 1,000 characters, got {len(form)}")
    if forms.get(key, label) != label or (form == label and key in forms):
        raise FormFault(f"{where}: {form!r} reads the same as another class or synonym")
    if len(forms) >= MAX_FORMS:
        raise FormFault(f"{where}: more than {MAX_FORMS} classes and synonyms")
    forms[key] = label
