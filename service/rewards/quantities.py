r"""Numbers as answers: one quantity, in the task's unit or another of its dimension.

    12   -0.5   −3   .5   1,234.5   1e-5   1.2E+3   1.2 × 10^-5   1.2 \times 10^{-5}   3·10⁻²   10^6
    12 µM   0.25 kDa   1.5e3 bp   37 °C   12 %

A number is exact: it is kept as a decimal, never through a float (9007199254740993 is not
9007199254740992), and the label is that decimal in the task's unit. Commas group thousands, three
digits each; "1,5" is no number here. What is more than one number, or less, is no answer: "3 or
4", "between 3 and 5", "3–5", "5 ± 1", "~5", "< 5", "1/2", "nan", "inf".

A unit stands after the number, letter for letter, since m is not M and Mb is not mb; µ may be
written μ or u. A bare number is in the task's unit. Where the task has no unit an answer must have
none; a task's unit that is not in ``UNITS`` may only be repeated as it stands. Kelvin and degrees
Celsius convert as temperatures. Not covered: Fahrenheit, products of units beside those listed.

Bounds: ``MAX_DIGITS`` digits, magnitudes from 1e-300 to 1e300, ``MAX_CHARS`` characters; all of it
is linear in the text.
"""

from __future__ import annotations

import decimal
import functools
import re
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Final, NamedTuple

from service.rewards.core import Reason
from service.rewards.forms import BLANKS, Claim, Form, blank, deceptive
from service.rewards.tasks import Number
from service.rewards.vocabulary import Vocabulary

MAX_CHARS: Final = 120
MAX_DIGITS: Final = 50
_GREATEST: Final = 300
_EXACT: Final = decimal.Context(prec=80, Emax=2000, Emin=-2000)
"""Holds every sum and product of two numbers of ``MAX_DIGITS`` digits that are not far apart."""
_PERIODIC: Final = decimal.Context(prec=17, Emax=2000, Emin=-2000)
"""For conversions that no decimal holds: a third of an hour, joules in calories."""

_SIGN: Final = r"[+\-−]"
_POWER: Final = (
    rf"10(?:\^({_SIGN}?[0-9]{{1,4}})|\^\{{({_SIGN}?[0-9]{{1,4}})\}}|([⁺⁻]?[⁰¹²³⁴-⁹]{{1,4}}))"
)
_NUMBER: Final = re.compile(
    rf"({_SIGN}?)(?:{_POWER}|((?:[0-9]{{1,3}}(?:,[0-9]{{3}})+|[0-9]+)(?:\.[0-9]+)?|\.[0-9]+)"
    rf"(?:[eE]({_SIGN}?[0-9]{{1,4}})|[ \t]?(?:[×x·*]|\\times|\\cdot)[ \t]?{_POWER})?)"
)
_RAISED: Final = str.maketrans("⁺⁻⁰¹²³⁴⁵⁶⁷⁸⁹−", "+-0123456789-")


BOOLEANS: Final = Vocabulary(
    ("true", "false"), {"true": "true", "yes": "true", "false": "false", "no": "false"}, "true"
)


class Unit(NamedTuple):
    """What one of the unit is in its dimension's own."""

    dimension: str
    factor: Decimal
    offset: Decimal = Decimal(0)
    """Added after multiplying: degrees Celsius to kelvin."""


def _prefixed(dimension: str, symbols: str, prefixes: str) -> dict[str, Unit]:
    """A unit's symbols under SI prefixes; ``-`` stands for none."""
    return {
        ("" if prefix == "-" else prefix) + symbol: Unit(dimension, _PREFIX[prefix])
        for symbol in symbols.split()
        for prefix in prefixes.split()
    }


_PREFIX: Final = {
    name: Decimal(10) ** power
    for name, power in {
        "f": -15, "p": -12, "n": -9, "µ": -6, "m": -3, "c": -2, "d": -1, "-": 0, "k": 3, "M": 6,
        "G": 9,
    }.items()
}  # fmt: skip
UNITS: Final[Mapping[str, Unit]] = {
    **_prefixed("concentration", "M mol/L", "f p n µ m -"),
    **_prefixed("amount", "mol", "f p n µ m -"),
    **_prefixed("mass", "g", "f p n µ m - k"),
    **_prefixed("volume", "L l", "f p n µ m d -"),
    **_prefixed("length", "m", "n µ m c -"),
    "Å": Unit("length", Decimal("1e-10")),
    **_prefixed("time", "s", "n µ m -"),
    "min": Unit("time", Decimal(60)),
    "h": Unit("time", Decimal(3600)),
    "d": Unit("time", Decimal(86400)),
    **_prefixed("molecular mass", "Da", "- k M"),
    **_prefixed("molecular mass", "g/mol", "- k"),
    "bp": Unit("sequence length", Decimal(1)),
    **_prefixed("sequence length", "b", "k M G"),
    **_prefixed("sequence length", "bp", "k M G"),
    "K": Unit("temperature", Decimal(1)),
    "°C": Unit("temperature", Decimal(1), Decimal("273.15")),
    **_prefixed("molar energy", "J/mol", "- k"),
    "cal/mol": Unit("molar energy", Decimal("4.184")),
    "kcal/mol": Unit("molar energy", Decimal("4184")),
    **_prefixed("potential", "V", "µ m -"),
    "%": Unit("share", Decimal("0.01")),
    "Å²": Unit("area", Decimal("1e-20")),
    "nm²": Unit("area", Decimal("1e-18")),
}
"""Symbol to dimension and size: SI prefixes over what biology and chemistry questions measure."""


@dataclass(frozen=True, slots=True)
class Quantity:
    """One number in the task's unit; ``value`` is it as a float, ``label`` exactly."""

    unit: str = ""

    def claim(self, text: str) -> Claim:
        """The quantity, or why there is none."""
        if blank(text):
            return Claim(Reason.NO_ANSWER)
        if len(text) > MAX_CHARS:
            return Claim(Reason.TOO_LONG)
        number = self.read(text)
        if number is None:
            return Claim(Reason.ANSWER_NOT_IN_VOCABULARY)
        return Claim(Reason.OK, written(number), float(number))

    def read(self, text: str) -> Decimal | None:
        """The number in the task's unit, None where the text is not exactly one quantity."""
        text = text.strip(BLANKS).removesuffix(".")
        found = _NUMBER.match(text)
        if found is None:
            return None
        unit = text[found.end() :].lstrip(" \t")
        number = _decimal(found)
        if number is None:
            return None
        return _converted(number, _symbol(unit), _symbol(self.unit)) if unit else number


def _decimal(found: re.Match[str]) -> Decimal | None:
    sign, mantissa = found[1], found[5]
    powers = (found[2], found[3], found[4], *found.groups()[5:])
    power = next((one for one in powers if one is not None), "0").translate(_RAISED)
    digits = (mantissa or "1").replace(",", "")
    if len(digits) > MAX_DIGITS:
        return None
    made = Decimal(f"{'-' if sign in ('-', '−') else ''}{digits}e{power}")
    return made if bounded(made) else None


def bounded(number: Decimal) -> bool:
    """Whether a number is finite, of ``MAX_DIGITS`` digits, and 0 or from 1e-300 to 1e300."""
    if not number.is_finite() or len(number.as_tuple().digits) > MAX_DIGITS:
        return False
    return not number or abs(number.adjusted()) <= _GREATEST


_SPELLINGS: Final[Mapping[str, str]] = {
    "degC": "°C", "A": "Å", "hr": "h", "sec": "s", "A^2": "Å²", "A²": "Å²", "Å2": "Å²",
    "u": "Da", "amu": "Da", "g·mol⁻¹": "g/mol", "g mol⁻¹": "g/mol", "g mol^-1": "g/mol",
}  # fmt: skip
"""Other spellings of one unit that name no other."""


@functools.lru_cache(maxsize=256)
def _symbol(unit: str) -> str:
    """One spelling for each unit of the table."""
    unit = unit.strip().replace("μ", "µ").replace("Å^2", "Å²").replace("nm^2", "nm²")
    unit = _SPELLINGS.get(unit, unit)
    if unit not in UNITS and unit[:1] == "u" and "µ" + unit[1:] in UNITS:
        return "µ" + unit[1:]
    return unit


def _converted(number: Decimal, given: str, wanted: str) -> Decimal | None:
    if given == wanted:
        return number
    one, other = UNITS.get(given), UNITS.get(wanted)
    if one is None or other is None or one.dimension != other.dimension:
        return None
    plain = _EXACT.add(_EXACT.multiply(number, one.factor), one.offset)
    made = _EXACT.divide(_EXACT.subtract(plain, other.offset), other.factor)
    return made if len(made.as_tuple().digits) <= MAX_DIGITS else _PERIODIC.plus(made)


def written(number: Decimal) -> str:
    """The shortest exact decimal; powers of ten only where zeros would fill a line."""
    if not number:
        return "0"
    number = number.normalize(_EXACT)
    if -7 <= number.adjusted() <= 20:
        return format(number, "f")
    return str(number).replace("E+", "e").replace("E", "e")


def exact(number: float) -> Decimal | None:
    """A JSON number as its shortest decimal (0.1 is one tenth); None for NaN and infinity."""
    made = Decimal(repr(number))
    return made if bounded(made) else None


@dataclass(frozen=True, slots=True)
class Verbatim:
    """One line of text as it stands, letter case included, for rows matched by ``string_eq``."""

    def claim(self, text: str) -> Claim:
        """The line without surrounding blanks."""
        if blank(text):
            return Claim(Reason.NO_ANSWER)
        line = text.strip(BLANKS)
        if len(line) > 1000:
            return Claim(Reason.TOO_LONG)
        if "\n" in line or "\r" in line or deceptive(line):
            return Claim(Reason.MALFORMED)
        return Claim(Reason.OK, line)


VERBATIM: Final = Verbatim()


def number_form(task: Number) -> Form:
    """The form that a number task's rule reads: a quantity, true or false, or a line of text."""
    if task.rule == "bool_eq":
        return BOOLEANS
    return VERBATIM if task.rule == "string_eq" else Quantity(task.unit)
