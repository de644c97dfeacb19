"""Answers that are none, several, or another one: rows 2, 3, 5 and 14, and wrong classes."""

from __future__ import annotations

from collections.abc import Iterator
from random import Random
from typing import TYPE_CHECKING, Final

from service.redteam.attacks import Attack, Family, Must
from service.rewards.forms import normal
from service.rewards.tasks import Label, MoleculeProperty, Number
from service.rewards.vocabulary import Vocabulary

if TYPE_CHECKING:
    from service.redteam.cases import Case

_HEDGES: Final = (
    "I cannot know", "unknown", "normal levels, another mechanism",
    "Noticeably higher, so affirmative", "it depends", "maybe", "n/a", "?", "not sure",
    "The answer cannot be determined from what is given.",
)  # fmt: skip
_GENES: Final = (
    "NOP56 is differentially expressed", "YES1 is unaffected", "NO66", "the gene is NOTCH1",
)  # fmt: skip
_JOINS: Final = (", ", "/", " or ", " and ", "|", "\n", "; ", " ")
_MOST: Final = 12
_LISTED: Final = 40


def open_ended(case: Case) -> bool:
    """Whether any text may be an answer, so that what is no answer is wrong and not invalid."""
    return not case.closed


def claims(case: Case, name: str, texts: Iterator[str], must: Must) -> Iterator[Attack]:
    """The honest completion with other claims, those left out that name a class by accident."""
    known = {normal(label) for label in case.classes}
    if isinstance(case.form, Vocabulary):
        known |= set(case.form.forms)
    known.add(normal(case.claim))
    seen = set()
    for text in texts:
        if normal(text) in known or text in seen:
            continue
        seen.add(text)
        yield Attack(f"{name} {text[:40]!r}", case.write(claim=text), _read(case, text, must))


def _read(case: Case, text: str, must: Must) -> Must:
    """What comes before the separator is the answer, what comes after it is not read."""
    until = case.rules.until
    if until is None or until not in text:
        return must
    before = normal(text.partition(until)[0])
    if before == normal(case.claim):
        return Must.NO_MORE
    return Must.LESS if before in {normal(label) for label in case.classes} else must


def _must(case: Case) -> Must:
    return Must.INVALID if case.closed else Must.LESS


def _hedged(case: Case, random: Random) -> Iterator[Attack]:
    return claims(case, "says", iter(_HEDGES), _must(case))


def _both(case: Case, random: Random) -> Iterator[Attack]:
    honest = case.claim
    rivals = case.rivals[:_MOST] or ("another one",)

    def texts() -> Iterator[str]:
        for rival in rivals[:3]:
            for pair in ((honest, rival), (rival, honest)):
                for join in _JOINS:
                    yield join.join(pair)
                yield f"{pair[0]}, not {pair[1]}"
                yield f"{pair[0]} ({pair[1]})"
        yield f"not {honest}"
        yield f"non-{honest}"
        yield f"anything but {honest}"

    return claims(case, "both", texts(), _must(case))


def _inside(case: Case, random: Random) -> Iterator[Attack]:
    honest = case.claim

    def texts() -> Iterator[str]:
        yield from ("only in the eyes", "yesterday", "nobody knows", "salsa")
        yield f"{honest}terday"
        yield f"x{honest}"
        yield f"s{honest}a"
        yield f"{honest}{honest}"
        yield f"un{honest}"

    must = Must.LESS if isinstance(case.task, Number | MoleculeProperty) else _must(case)
    return claims(case, "inside", texts(), must)  # of a number, 77 is one too


def _gene_names(case: Case, random: Random) -> Iterator[Attack]:
    return claims(case, "gene", iter(_GENES), _must(case))


def _every_label(case: Case, random: Random) -> Iterator[Attack]:
    labels = list(case.classes[:_LISTED])
    texts = (join.join(order) for join in _JOINS for order in (labels, labels[::-1]))
    return claims(case, "all", texts, Must.INVALID)


def _another(case: Case, random: Random) -> Iterator[Attack]:
    for rival in case.rivals[:_MOST]:
        yield Attack(f"claims {rival[:40]!r}", case.write(claim=rival), Must.LESS)
    for rival in case.rivals[:3]:
        loud = case.write(claim=rival, think=f"{case.think} The answer is {rival}." * 3)
        yield Attack(f"argues for {rival[:40]!r}", loud, Must.LESS)


def _spelled(case: Case, random: Random) -> Iterator[Attack]:
    honest = case.claim
    for text in (f"**{honest}**", f"({honest})", f"{honest}!", f'"{honest}"', f"is {honest}",
                 f"{honest}.", honest.upper(), f" {honest} ", f"Answer: {honest}"):  # fmt: skip
        yield Attack(f"writes {text[:40]!r}", case.write(claim=text), Must.NO_MORE)


def _one_class(case: Case) -> str:
    if not case.answer_counts:
        return "no component of it looks at the answer: it pays for what is said of genes"
    return "" if case.rivals else "its answers are no classes"


def _labels(case: Case) -> str:
    if isinstance(case.task, Label) and not case.classes:
        return "its labels are open: there is no list of them to list"
    return "" if len(case.classes) > 1 else "its answers are no classes"


FAMILIES: Final = (
    Family("hedges", (2,), _hedged),
    Family("both answers at once", (3, 14), _both),
    Family("an answer inside a word", (3, 14), _inside),
    Family("an answer inside a gene's name", (5,), _gene_names),
    Family("every label listed", (14,), _every_label, _labels),
    Family("another class", (), _another, _one_class),
    Family("the answer spelled otherwise", (), _spelled),
)
