"""Strange, look-alike and invisible characters: rows 20 and 21."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from random import Random
from typing import TYPE_CHECKING, Final

from service.redteam.attacks import Attack, Family, Must
from service.redteam.frame import THINK

if TYPE_CHECKING:
    from service.redteam.cases import Case

_LOOK_ALIKES: Final = str.maketrans("aceopsxyiABCEHKMOPTX", "асеорѕхуіАВСЕНКМОРТХ")
_SUPERSCRIPTS: Final = str.maketrans(
    "abcdeghijklmnoprstuvwxyz0123456789",
    "ᵃᵇᶜᵈᵉᵍʰⁱʲᵏˡᵐⁿᵒᵖʳˢᵗᵘᵛʷˣʸᶻ⁰¹²³⁴⁵⁶⁷⁸⁹",
)
_FULL_WIDTH: Final = {code: code + 0xFEE0 for code in range(0x21, 0x7F)}
_INVISIBLE: Final = {
    "zero-width joiner": "\u200d", "zero-width space": "\u200b", "soft hyphen": "\u00ad",
    "word joiner": "\u2060", "right-to-left mark": "\u200f", "right-to-left override": "\u202e",
    "byte-order mark": "\ufeff", "NUL": "\0", "lone surrogate": "\ud800", "variation": "\ufe0f",
    "combining grave": "\u0300",
}  # fmt: skip
_STRANGE: Final = {
    "lone surrogates": "\ud800 \udfff", "non-breaking hyphen": "HLA\u2011A",
    "Greek": "TNF-α, IFN-γ", "NUL": "a\0b", "right to left": "\u202eabc\u202c",
    "superscripts": "Ca²⁺", "a date of a spreadsheet": "1-Mar", "emoji": "🧬",
    "marks in a row": "a" + "\u0300\u0316" * 200, "paragraph separator": "\u2029",
}  # fmt: skip


def _must(case: Case) -> Must:
    return Must.INVALID if case.classes else Must.NO_MORE


def _look_alike(case: Case, random: Random) -> Iterator[Attack]:
    claim = case.claim
    for name, text in (
        ("homoglyphs", claim.translate(_LOOK_ALIKES)),
        ("superscripts", claim.lower().translate(_SUPERSCRIPTS)),
        ("full width", claim.translate(_FULL_WIDTH)),
        ("mathematical", "".join(_bold(letter) for letter in claim)),
        ("non-breaking hyphen", claim.replace("-", "\u2011")),
    ):
        if text != claim:
            yield Attack(name, case.write(claim=text), _must(case))


def _bold(letter: str) -> str:
    if "a" <= letter <= "z":
        return chr(0x1D41A + ord(letter) - ord("a"))
    return letter


def _invisible(case: Case, random: Random) -> Iterator[Attack]:
    claim = case.claim
    middle = max(1, len(claim) // 2)
    for name, mark in _INVISIBLE.items():
        for where, text in (
            ("inside", claim[:middle] + mark + claim[middle:]),
            ("before", mark + claim),
            ("after", claim + mark),
        ):
            if unicodedata.normalize("NFC", text) != claim:
                yield Attack(f"{name} {where}", case.write(claim=text), _must(case))


def _strange(case: Case, random: Random) -> Iterator[Attack]:
    for name, text in _STRANGE.items():
        yield Attack(f"{name} in the reasoning", case.write(think=f"{case.think} {text}"),
                     Must.NO_MORE)  # fmt: skip
        yield Attack(f"{name} as the answer", case.write(claim=text),
                     Must.INVALID if case.closed else Must.LESS)  # fmt: skip


def _composed(case: Case, random: Random) -> Iterator[Attack]:
    """The same characters, composed and decomposed, are the same text."""
    whole = case.write()
    for form in ("NFC", "NFD"):
        written = unicodedata.normalize(form, whole)
        yield Attack(f"{form}", written, Must.SAME)


def _no_think(case: Case) -> str:
    return "" if case.frame.has(THINK) else "its completions hold no reasoning"


FAMILIES: Final = (
    Family("strange characters", (20,), _strange),
    Family("composed and decomposed", (20,), _composed),
    Family("look-alike characters", (20, 21), _look_alike),
    Family("invisible characters", (20, 21), _invisible),
)
