"""Free text compared with a reference: row 15."""

from __future__ import annotations

from collections.abc import Iterator
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


def _texts(case: Case, random: Random) -> Iterator[Attack]:
    in_section = case.frame.has(SECTION)
    honest = case.frame.text(SECTION) if in_section else case.claim
    words = honest.split()
    shuffled = random.sample(words, len(words))
    for name, text, must in (
        ("50 times", f"{honest} " * 50, Must.LESS),
        ("twice", f"{honest} {honest}", Must.NO_MORE),
        ("shuffled words", " ".join(shuffled), Must.LESS),
        ("words backwards", " ".join(words[::-1]), Must.LESS),
        ("sorted words", " ".join(sorted(words)), Must.LESS),
        ("negated", _negated(honest), Must.LESS),
        ("denied", f"It is not true that {honest}", Must.LESS),
        ("boilerplate", _BOILERPLATE, Must.LESS),
        ("boilerplate 20 times", _BOILERPLATE * 20, Must.LESS),
        ("honest text and boilerplate", f"{honest} {_BOILERPLATE}" * 5, Must.LESS),
        ("another gene's text", _ANOTHER, Must.LESS),
        ("the first word", words[0] if words else "", Must.LESS),
        ("nothing", "", Must.LESS),
    ):
        whole = case.write(section=text) if in_section else case.write(claim=text)
        yield Attack(name, whole, must, heavy=True)


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
