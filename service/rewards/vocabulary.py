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
import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from service.rewards.core import Label, PerturbationDir, Task

BLANKS: Final = " \t\r\n"
"""The only characters that may stand around an answer inside its tags."""

MAX_FORMS: Final = 1000
"""Classes and synonyms of one label task."""


class VocabularyFault(ValueError):
    """A label task's classes or synonyms make no vocabulary; the message names the field."""


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


def normal(text: str) -> str:
    """An answer without surrounding blanks, letter case and one final period."""
    return text.strip(BLANKS).lower().removesuffix(".")


YES_NO: Final = Vocabulary(("yes", "no"), {"yes": "yes", "no": "no"}, "yes")
UP_DOWN: Final = Vocabulary(
    ("up", "down"), {"up": "up", "yes": "up", "down": "down", "no": "down"}, "up"
)


def vocabulary_of(task: Task | None) -> Vocabulary:
    """The vocabulary of a task; yes/no where an item has no task.

    Raises:
        VocabularyFault: a label task without classes, or with classes that collide.
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
        raise VocabularyFault(f"task.classes: expected two classes or more, got {len(classes)}")
    forms: dict[str, str] = {}
    for index, label in enumerate(classes):
        _add(forms, label, label, f"task.classes[{index}]")
    for label, others in synonyms:
        if label not in classes:
            raise VocabularyFault(f"task.synonyms: {label!r} is not one of task.classes")
        for index, form in enumerate(others):
            _add(forms, form, label, f"task.synonyms[{label!r}][{index}]")
    positive = "yes" if set(classes) == {"yes", "no"} else None
    return Vocabulary(classes, forms, positive)


def _add(forms: dict[str, str], form: str, label: str, where: str) -> None:
    key = normal(unicodedata.normalize("NFC", form[:1000]))
    if not key or len(form) > 1000:
        raise VocabularyFault(f"{where}: expected 1 to 1,000 characters, got {len(form)}")
    if forms.get(key, label) != label or (form == label and key in forms):
        raise VocabularyFault(f"{where}: {form!r} reads the same as another class or synonym")
    if len(forms) >= MAX_FORMS:
        raise VocabularyFault(f"{where}: more than {MAX_FORMS} classes and synonyms")
    forms[key] = label


_CUE: Final = (
    r"\b(?:answer|conclusion|verdict|conclude|must be|therefore|thus|hence|so)\b"
    r"(?P<between>[^.!?;\n]{0,80}?)"
)
_DOUBT: Final = re.compile(r"\b(?:if|unless|otherwise|whether|would|could|might|may)\b")
_DENIAL: Final = re.compile(r"\bnot\b|n't\b|\bnever\b|\bcannot\b|\bthan\b|\binstead\b|\bunlikely\b")
_TURN: Final = re.compile(r"\b(?:but|however|although|though|yet|actually|wait|instead|except)\b")
_TAIL: Final = 300


@functools.lru_cache(maxsize=1024)
def _concluding(forms: tuple[str, ...]) -> re.Pattern[str]:
    names = "|".join(re.escape(form) for form in sorted(forms, key=len, reverse=True))
    return re.compile(rf"{_CUE}\b(?P<form>{names})\b(?=[\"'*)\]]*\s*(?:[.!;,:\n]|$))")


@functools.lru_cache(maxsize=1024)
def _other_forms(
    forms: tuple[tuple[str, str], ...], label: str
) -> tuple[tuple[str, re.Pattern[str]], ...]:
    """Each form of another class, with the expression that finds it as a token."""
    others = [form for form, named in forms if named != label]
    return tuple(
        (form, re.compile(rf"{re.escape(form)}(?<!\w{re.escape(form)})(?!\w)")) for form in others
    )


def contradicts(think: str, label: str, vocabulary: Vocabulary) -> bool:
    """Whether the end of the reasoning concludes another class than ``label``.

    Conservative: only the last 300 characters count, only a clause that ends with the class after
    a concluding word ("so the answer must be no."), the last such clause decides, and a denial, a
    condition, or a turn ("but …") after it takes it back. Vocabularies of more than 32 forms are
    not looked at.
    """
    if len(vocabulary.forms) > 32:
        return False
    tail = think[-_TAIL:].rstrip().lower()
    for other, token in _other_forms(tuple(vocabulary.forms.items()), label):
        if other in tail and token.search(tail):
            break
    else:
        return False
    last = None
    for found in _concluding(tuple(vocabulary.forms)).finditer(tail):
        last = found
    if last is None or vocabulary.forms[last["form"]] == label:
        return False
    clause = tail[max(tail.rfind(stop, 0, last.start()) for stop in ".!?\n") + 1 : last.end()]
    return not (
        _DENIAL.search(last["between"]) or _DOUBT.search(clause) or _TURN.search(tail, last.end())
    )
