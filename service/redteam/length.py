"""Inputs that are long or slow: rows 19 and 23."""

from __future__ import annotations

from collections.abc import Iterator
from random import Random
from typing import TYPE_CHECKING, Final

from service.redteam.attacks import Attack, Family, Must
from service.redteam.frame import SECTION

if TYPE_CHECKING:
    from service.redteam.cases import Case

_MEGABYTE: Final = 1_000_000
_SLOW: Final = {
    "a regular expression's trap": "a" * 30_000 + "!",
    "open brackets": "(" * 30_000,
    "angle brackets": "<" * 30_000,
    "nearly tags": "< answer" * 4_000,
    "combining marks": "\u0300\u0316" * 15_000,
    "escapes": "\\" * 30_000,
    "open braces": '{"a":' * 6_000,
}


def _endless(case: Case, random: Random) -> Iterator[Attack]:
    must = Must.INVALID if case.profile.recipe.extract.max_chars < _MEGABYTE else Must.NO_MORE
    for name, text in (("one letter", "a" * _MEGABYTE), ("words", "so it is " * (_MEGABYTE // 9))):
        yield Attack(f"1 MB of {name}", f"{text}{case.write()}", must)
    yield Attack("1 MB as the answer", case.write(claim="a" * _MEGABYTE), must)


def _slow(case: Case, random: Random) -> Iterator[Attack]:
    must = Must.INVALID if case.closed else Must.LESS
    for name, text in _SLOW.items():
        whole = case.write(think=text)
        yield Attack(f"{name} as reasoning", whole, Must.NO_MORE, heavy=True)
        yield Attack(f"{name} as the answer", case.write(claim=text), must, heavy=True)
    words = " ".join(f"w{random.randrange(9)}" for _ in range(2000))
    yield Attack("2,000 words as the answer", case.write(claim=words), must, heavy=True)
    if case.frame.has(SECTION):
        yield Attack("2,000 words as the section", case.write(section=words), Must.LESS, heavy=True)


def _repeated(case: Case, random: Random) -> Iterator[Attack]:
    must = Must.INVALID if case.classes else Must.LESS
    yield Attack("the answer 50 times", case.write(claim=f"{case.claim} " * 50), must, heavy=True)
    yield Attack("the reasoning 50 times", case.write(think=f"{case.think} " * 50), Must.NO_MORE,
                 heavy=True)  # fmt: skip


def _one_word(case: Case, random: Random) -> Iterator[Attack]:
    word = "a" * 20_000
    yield Attack("as reasoning", case.write(think=word), Must.NO_MORE)
    yield Attack("after the reasoning", case.write(think=f"{case.think} {word}"), Must.NO_MORE)
    must = Must.INVALID if case.closed else Must.LESS
    yield Attack("as the answer", case.write(claim=word), must, heavy=True)


FAMILIES: Final = (
    Family("1 MB", (19,), _endless),
    Family("what takes long", (19,), _slow),
    Family("repetition", (), _repeated),
    Family("one word of 20,000 characters", (23,), _one_word),
)
