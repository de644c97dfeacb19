"""Free text compared with a reference: row 15."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterator
from random import Random
from typing import TYPE_CHECKING, Final

from service.redteam.attacks import Attack, Family, Must
from service.redteam.frame import SECTION
from service.rewards.tasks import Checkpoints

if TYPE_CHECKING:
    from service.redteam.cases import Case

_BOILERPLATE: Final = (
    "This gene encodes a protein that is involved in the regulation of many cellular processes, "
    "including transcription, signal transduction, binding, metabolic process and transport in "
    "the cytoplasm, the nucleus and the membrane."
)
_ANOTHER: Final = (
    "Keratin of hair follicles, an intermediate filament of the cortex that hardens the shaft."
)


_Change = Callable[[str], str]


def _texts(case: Case, random: Random) -> Iterator[Attack]:
    for name, change, must in (*_CHANGES, *_listed(case)):
        yield Attack(name, _changed(case, change), must, heavy=True)
    for name, mix in (("shuffled words", _shuffled), ("mixed sentences", _mixed)):
        whole = _changed(case, functools.partial(mix, random))
        yield Attack(name, whole, Must.LESS, heavy=True)


def _changed(case: Case, change: _Change) -> str:
    """The completion with other text, after the name that each section begins with."""
    if not case.frame.has(SECTION):
        return case.write(claim=change(case.claim))
    return case.write(section=lambda text: _subject(text) + change(text[len(_subject(text)) :]))


def _subject(text: str) -> str:
    """``CALR: `` in front of what is said of it."""
    found = _SUBJECT.match(text)
    return found.group() if found else ""


def _shuffled(random: Random, text: str) -> str:
    words = text.split()
    return " ".join(random.sample(words, len(words)))


def _mixed(random: Random, text: str) -> str:
    """Half of the words from elsewhere."""
    others = _ANOTHER.split()
    return " ".join(random.choice((word, random.choice(others))) for word in text.split())


def _listed(case: Case) -> Iterator[tuple[str, _Change, Must]]:
    """Every name that the profile's ontology has, in place of what is known, and beside it."""
    for knowledge in case.consulted:
        names = [term.name for term in knowledge.ontology.terms.values()]
        for many in (len(names), 4 * _ENOUGH):
            listed = ", ".join(names[:many])
            yield (
                f"{many} terms of {knowledge.name}",
                functools.partial(_instead, listed),
                Must.LESS,
            )
        listed = ", ".join(names[:_ENOUGH])
        name = f"the honest text and {_ENOUGH} terms of {knowledge.name}"
        yield name, functools.partial(_beside, listed), Must.LESS


def _instead(listed: str, text: str) -> str:
    return listed


def _beside(listed: str, text: str) -> str:
    return f"{text}, {listed}"


_ENOUGH: Final = 20
_SUBJECT: Final = re.compile(r"\s*[^\s:]{1,24}:\s*")
_CHANGES: Final[tuple[tuple[str, _Change, Must], ...]] = (
    ("50 times", lambda text: f"{text} " * 50, Must.LESS),
    ("twice", lambda text: f"{text} {text}", Must.NO_MORE),
    ("words backwards", lambda text: " ".join(text.split()[::-1]), Must.LESS),
    ("sorted words", lambda text: " ".join(sorted(text.split())), Must.LESS),
    ("negated", lambda text: _negated(text), Must.LESS),
    ("denied", lambda text: f"It is not true that it has {text}", Must.LESS),
    ("boilerplate", lambda text: _BOILERPLATE, Must.LESS),
    ("boilerplate 20 times", lambda text: _BOILERPLATE * 20, Must.LESS),
    ("honest text and boilerplate", lambda text: f"{text} {_BOILERPLATE}" * 5, Must.LESS),
    ("what is true of another", lambda text: _ANOTHER, Must.LESS),
    ("the first word", lambda text: " ".join(text.split()[:1]), Must.LESS),
    ("nothing", lambda text: "", Must.LESS),
)


def _negated(text: str) -> str:
    made = text
    for word in (" is ", " are ", " was ", " has ", " can "):
        made = made.replace(word, f"{word}NOT ")
    return made if made != text else f"is NOT involved in {text}"


def _steps(case: Case, random: Random) -> Iterator[Attack]:
    """Steps of the reasoning, one on a line, ``name: class``."""
    task = case.task
    if not isinstance(task, Checkpoints):
        return
    honest = case.frame.text(SECTION)
    lines = honest.splitlines()
    sprayed = [f"{name}: {one}" for name, classes in task.checkpoints.items() for one in classes]
    for name, text, must in (
        ("none", "", Must.NO_MORE),
        ("every class of each", "\n".join(sprayed), Must.NO_MORE),
        ("everything twice", "\n".join(lines * 2), Must.NO_MORE),
        ("prose", "It goes up and then down.", Must.NO_MORE),
        ("all uncertain", "\n".join(f"{name}: uncertain" for name in task.checkpoints),
         Must.NO_MORE),
        ("steps of another question", "weather: up", Must.NO_MORE),
    ):  # fmt: skip
        yield Attack(name, case.write(section=text), must)
        for rival in case.rivals[:2]:
            yield Attack(f"{name}, answers {rival}", case.write(rival, section=text), Must.LESS)
    for rival in case.rivals[:3]:
        yield Attack(f"right steps, answers {rival}", case.write(rival), Must.LESS, plain=True)


def _no_steps(case: Case) -> str:
    if isinstance(case.task, Checkpoints) and case.frame.has(SECTION):
        return ""
    return "it checks no steps of the reasoning"


def _no_text(case: Case) -> str:
    if case.graded:
        return ""
    return "it compares no free text with a reference"


FAMILIES: Final = (
    Family("free text without knowledge", (15,), _texts, _no_text),
    Family("steps without knowledge", (), _steps, _no_steps),
)
