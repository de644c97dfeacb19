"""Numbers that are wrong, or several, or none."""

from __future__ import annotations

import re
from collections.abc import Iterator
from random import Random
from typing import TYPE_CHECKING, Final

from service.redteam.attacks import Attack, Family, Must
from service.rewards.tasks import MoleculeProperty, Number

if TYPE_CHECKING:
    from service.redteam.cases import Case

_NUMBER: Final = re.compile(r"[-+]?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?")


def _wrong(case: Case, random: Random) -> Iterator[Attack]:
    number, tail = _split(case.claim)
    if number is None:
        return
    for text in (
        f"{number * 3 + 7!r}", f"{-number - 1!r}", "1e308", "-1e308", f"{number * 1000 + 5!r}",
        f"{number / 1000 + 0.001!r}" if number else "0.5", "0" if number else "99",
    ):  # fmt: skip
        yield Attack(f"answers {text}{tail}", case.write(claim=text + tail), Must.LESS)


def _not_one(case: Case, random: Random) -> Iterator[Attack]:
    number, _ = _split(case.claim)
    if number is None:
        return
    honest = case.claim
    for text in (
        "nan", "inf", "-inf", "1e999", "about", f"{honest} or {number + 9!r}",
        f"{honest}, {number + 9!r}", f"{number - 9!r} to {number + 9!r}", f"{honest}?",
        f"not {honest}", f"{honest} {honest}", f"{number - 9!r}-{number + 9!r}", "1/0", "0x10",
        f"between {number - 9!r} and {number + 9!r}", f"{honest}\n{number + 9!r}", "1e" * 50,
    ):  # fmt: skip
        yield Attack(f"answers {text[:40]!r}", case.write(claim=text), Must.INVALID)
    yield Attack("4,000 digits", case.write(claim="9" * 4000), Must.LESS)
    exponent = case.write(claim=f"1e{'9' * 4000}")
    yield Attack("an exponent of 4,000 digits", exponent, Must.INVALID)


def _probabilities(case: Case, random: Random) -> Iterator[Attack]:
    """Proper scores pay most for what is believed."""
    q = case.answer.value
    if not isinstance(q, float):
        return
    yield Attack("the complement", case.write(claim=f"{1 - q:.4f}"), Must.LESS)
    if case.p is not None:
        for other in (0.0, 1.0, 0.5, q - 0.1, q + 0.1):
            if 0 <= other <= 1 and abs(other - q) > 0.01:
                yield Attack(f"states {other:.4f}", case.write(claim=f"{other:.4f}"), Must.LESS)
    for text in ("1.7", "-0.2", "170%", "nan", "yes", "0.2 or 0.8", "1e-1", "5/6", "0,5"):
        yield Attack(f"states {text!r}", case.write(claim=text), Must.INVALID)


def _no_probability(case: Case) -> str:
    return "" if case.probability else "its answers state no probabilities"


def _split(claim: str) -> tuple[float | int | None, str]:
    """The number in front of a claim and what follows it."""
    found = _NUMBER.match(claim)
    if found is None:
        return None, ""
    text = found.group()
    number = int(text) if re.fullmatch(r"[-+]?\d+", text) else float(text)
    return number, claim[found.end() :]


def _no_number(case: Case) -> str:
    return "" if isinstance(case.task, Number | MoleculeProperty) else "its answers are no numbers"


FAMILIES: Final = (
    Family("other numbers", (), _wrong, _no_number),
    Family("what is no one number", (14,), _not_one, _no_number),
    Family("other probabilities", (), _probabilities, _no_probability),
)
