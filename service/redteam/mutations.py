"""Random mutations of honest and dishonest completions: never a gain, never a crash."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from random import Random
from typing import TYPE_CHECKING, Final

from service.redteam.attacks import Attack, Family, Must
from service.redteam.grammar import rival_of

if TYPE_CHECKING:
    from service.redteam.cases import Case

TOKENS: Final = (
    "<think>", "</think>", "<answer>", "</answer>", "<ANSWER>", "< answer >", "<!--", "-->", "```",
    "\\boxed{", "}", "{", '{"answer":', '"', "\n", " ", "yes", "no", "not", "\u200b", "\u202e",
    "\ud800", "\0", "e\u0301", "\u0435", "<|im_end|>", "</s>", "<tool_call>", "Answer:", ";",
    "<gene_info>", "</gene_info>", "A", "B", "GO:0008150", "7", "-", "%", "C", "c1ccccc1", ".",
    "\u2028", "\\", "$", "[", "]", ",", "|", "1e9", "NaN",
)  # fmt: skip
"""What completions of every profile are made of, and what does harm."""


def mutated(text: str, random: Random) -> str:
    """A text with one to four random changes."""
    for _ in range(random.randint(1, 4)):
        text = random.choice(_CHANGES)(text, random)
    return text


def _span(text: str, random: Random) -> tuple[int, int]:
    start = random.randrange(len(text) + 1)
    return start, min(len(text), start + random.choice((1, 2, 5, 20, 100)))


def _delete(text: str, random: Random) -> str:
    start, end = _span(text, random)
    return text[:start] + text[end:]


def _double(text: str, random: Random) -> str:
    start, end = _span(text, random)
    return text[:end] + text[start:]


def _insert(text: str, random: Random) -> str:
    at = random.randrange(len(text) + 1)
    return text[:at] + random.choice(TOKENS) + text[at:]


def _swap(text: str, random: Random) -> str:
    (a, b), (c, d) = sorted((_span(text, random), _span(text, random)))
    return text if c < b else text[:a] + text[c:d] + text[b:c] + text[a:b] + text[d:]


def _flip_case(text: str, random: Random) -> str:
    start, end = _span(text, random)
    return text[:start] + text[start:end].swapcase() + text[end:]


def _letter(text: str, random: Random) -> str:
    at = random.randrange(len(text) + 1)
    return text[:at] + chr(random.randrange(0x110000)) + text[at + 1 :]


def _cut(text: str, random: Random) -> str:
    return text[: random.randrange(len(text) + 1)]


_CHANGES: Final[tuple[Callable[[str, Random], str], ...]] = (
    _delete,
    _double,
    _insert,
    _insert,
    _swap,
    _flip_case,
    _letter,
    _cut,
)
PER_CASE: Final = 40


def _mutations(case: Case, random: Random) -> Iterator[Attack]:
    rival = case.write(claim=rival_of(case))
    for number in range(PER_CASE):
        base = case.write() if number % 2 else rival
        must = Must.BOUNDED if case.graded else Must.NO_MORE
        yield Attack(f"mutation {number}", mutated(base, random), must, heavy=True)


FAMILIES: Final = (Family("random mutations", (), _mutations),)
