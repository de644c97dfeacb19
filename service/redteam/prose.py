"""Free text compared with a reference: row 15."""

from __future__ import annotations

from collections.abc import Iterator
from random import Random
from typing import TYPE_CHECKING, Final

from service.redteam.attacks import Attack, Family, Must
from service.redteam.frame import SECTION
from service.rewards.tasks import GeneFunction, Text

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
        ("twice", f"{honest} {honest}", Must.LESS),
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


def _no_text(case: Case) -> str:
    if isinstance(case.task, Text | GeneFunction) or case.frame.has(SECTION):
        return ""
    return "it compares no free text with a reference"


FAMILIES: Final = (Family("free text without knowledge", (15,), _texts, _no_text),)
