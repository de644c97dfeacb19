"""A class, and the steps of the reasoning that can be checked by themselves (PertMind).

PertMind's reward is R = R_gene + 0.15·mask·R_pathway + 0.05·R_format: one component for each
``part``, joined by ``lexi_sum``:

    answer       1 if the answer is the truth's class, else 0 (hard: its gap is 1)
    checkpoints  share of the truth's checkpoints that the completion has right. Those whose truth
                 is "uncertain" are masked: left out, whatever is said of them; where none is left
                 there is no opinion (UNMEASURED). One that is not named is wrong.
    form         1 if the section names every checkpoint of the task once, each with one of its
                 classes or "uncertain", and nothing else; else 0

Checkpoints stand in the section ``<checkpoints>`` (``[extract] sections``), one on a line, ``name:
class``; names and classes compare without letter case, a bullet may stand in front. A section that
says anything else earns nothing in either part: a checkpoint that the task does not have, one named
twice, a class that is not its own, prose. So naming every class of each checkpoint loses what
guessing one would keep. No section, or two, is no checkpoint at all.

Truth: {"answer": "up", "checkpoints": {"UPR": "up", "cell cycle": "uncertain"}}.
"""

from __future__ import annotations

import functools
import unicodedata
from collections.abc import Mapping
from typing import Final, Literal

import msgspec

from service.rewards.core import Answer, Component, Item, Reason, Verdict
from service.rewards.forms import Form, normal
from service.rewards.library import Library
from service.rewards.tasks import Checkpoints
from service.rewards.truth import hard_label
from service.rewards.verifiers.judge import Fault, Judge
from service.rewards.vocabulary import vocabulary_of

SECTION: Final = "checkpoints"
UNCERTAIN: Final = "uncertain"
_SHORT: Final = 64
"""Characters of a name that is worth remembering."""
_KEYS: Final = {"answer", "checkpoints"}


class CheckpointsOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The keys of a ``checkpoints`` component."""

    part: Literal["answer", "checkpoints", "form"]
    """What of the completion this component judges."""


class CheckpointsJudge(Judge):
    """One part of a PertMind reward, in [0, 1]."""

    Options = CheckpointsOptions
    tasks = ("checkpoints",)
    truth: Literal["soft", "hard"] | None = "hard"

    def __init__(self, name: str, weight: float, options: CheckpointsOptions, library: Library):
        super().__init__(name, weight, options, library)
        self.part = options.part
        self.gap = 1.0 if options.part == "answer" else 0.0
        self.truth = None if options.part == "form" else "hard"
        self.states = "label"

    def fault(self, item: Item, form: Form) -> Fault | None:
        """BAD_ITEM for checkpoints that read the same, BAD_TRUTH for what does not answer them."""
        task = item.task
        if not isinstance(task, Checkpoints):
            return None
        if message := _task_fault(task):
            return Reason.BAD_ITEM, message
        if item.truth is None or self.truth is None:
            return None
        message = _truth_fault(item.truth, task)
        return None if message is None else (Reason.BAD_TRUTH, message)

    def score(self, item: Item, answer: Answer, verdicts: tuple[Verdict, ...]) -> Component:
        """Judge this component's part."""
        task, truth = item.task, item.truth
        assert isinstance(task, Checkpoints)  # Profile.fault let nothing else through
        if self.part == "form":
            said = stated(answer.sections, task)
            whole = said is not None and len(said) == len(task.checkpoints)
            return Component(self.name, float(whole), self.weight)
        if truth is None:
            return self.missing(Reason.NO_TRUTH)
        assert isinstance(truth, dict)  # fault let nothing else through
        if self.part == "answer":
            right = hard_label(truth["answer"], vocabulary_of(task)) == answer.label
            return Component(self.name, float(right), self.weight)
        known = _unmasked(truth["checkpoints"])
        if not known:
            return self.missing(Reason.UNMEASURED)
        said = stated(answer.sections, task) or {}
        right_ones = sum([said.get(name) == label for name, label in known.items()])
        return Component(self.name, right_ones / len(known), self.weight)


def stated(sections: tuple[tuple[str, str], ...], task: Checkpoints) -> dict[str, str] | None:
    """Checkpoint to class as the completion gives them; None where it does not give them so."""
    texts = [text for name, text in sections if name == SECTION]
    if len(texts) != 1:
        return None
    classes = _classes(task)
    said: dict[str, str] = {}
    for line in texts[0].split("\n"):
        if not line.strip():
            continue
        name, colon, label = line.strip().removeprefix("- ").removeprefix("* ").rpartition(":")
        name, label = _plain(name), _plain(label)
        if not colon or name in said or label not in classes.get(name, ()):
            return None
        said[name] = label
    return said


def _classes(task: Checkpoints) -> Mapping[str, frozenset[str]]:
    """The classes that each checkpoint may be given; for a task without a fault."""
    return _read(tuple((name, tuple(classes)) for name, classes in task.checkpoints.items()))[0]


def _task_fault(task: Checkpoints) -> str | None:
    return _read(tuple((name, tuple(classes)) for name, classes in task.checkpoints.items()))[1]


@functools.lru_cache(maxsize=256)
def _read(
    checkpoints: tuple[tuple[str, tuple[str, ...]], ...],
) -> tuple[Mapping[str, frozenset[str]], str | None]:
    """Checkpoints and their classes as they compare, and what is wrong with them."""
    read: dict[str, frozenset[str]] = {}
    for name, classes in checkpoints:
        where = f"task.checkpoints[{name!r:.80}]"
        plain = _plain(name)
        if not plain or "\n" in name:
            return read, f"{where}: expected a name on one line"
        if plain in read:
            return read, f"{where}: two names read the same"
        distinct = {_plain(label) for label in classes} - {UNCERTAIN}
        if len(distinct) < 2 or "" in distinct or any(set(label) & set(":\n") for label in classes):
            shown = list(classes)
            return read, f"{where}: expected two classes or more, without colons, got {shown!r:.80}"
        read[plain] = frozenset({UNCERTAIN, *distinct})
    if not read:
        return read, "task.checkpoints: expected at least one; a task without is of type label"
    return read, None


def _truth_fault(truth: object, task: Checkpoints) -> str | None:
    if not isinstance(truth, dict) or truth.keys() != _KEYS:
        return f"truth: expected `answer` and `checkpoints`, got {truth!r:.80}"
    if hard_label(truth["answer"], vocabulary_of(task)) is None:
        classes = ", ".join(task.classes[:12])
        return f"truth.answer: expected one of {classes}, got {truth['answer']!r:.80}"
    known, classes_of = truth["checkpoints"], _classes(task)
    if not isinstance(known, dict):
        return f"truth.checkpoints: expected classes by name, got {known!r:.80}"
    for name, label in known.items():
        admitted = classes_of.get(_plain(name))
        if admitted is None:
            return f"truth.checkpoints: {name!r:.80} is none of task.checkpoints"
        if not isinstance(label, str) or _plain(label) not in admitted:
            return f"truth.checkpoints[{name!r:.80}]: {label!r:.80} is none of its classes"
    if len(_unmasked(known, masked=True)) < len(known):
        return "truth.checkpoints: two names read the same"
    return None


def _unmasked(known: Mapping[str, str], masked: bool = False) -> dict[str, str]:
    """Checkpoints and their classes, without those that are uncertain."""
    plain = {_plain(name): _plain(label) for name, label in known.items()}
    return {name: label for name, label in plain.items() if masked or label != UNCERTAIN}


def _plain(text: str) -> str:
    """A name as it compares; those of tasks and truths come with every completion of a group."""
    return _short(text) if len(text) <= _SHORT else _composed(text)


def _composed(text: str) -> str:
    return normal(text if text.isascii() else unicodedata.normalize("NFC", text))


_short: Final = functools.lru_cache(maxsize=4096)(_composed)
