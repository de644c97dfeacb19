"""Quantities: what is one number, in which unit, exactly; and what is none."""

# ruff: noqa: E501 - a table reads best in rows

from __future__ import annotations

import math
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.rewards.quantities import (
    BOOLEANS,
    UNITS,
    VERBATIM,
    Quantity,
    bounded,
    exact,
    number_form,
    written,
)
from service.rewards.tasks import Number

CHEAP = settings(max_examples=200, deadline=None)

NUMBERS = {
    "integer": ("12", "12"), "plus": ("+12", "12"), "minus": ("-12", "-12"), "Unicode minus": ("−12", "-12"),
    "decimal": ("0.50", "0.5"), "no zero in front": (".5", "0.5"), "final period": ("5.", "5"),
    "blanks": (" \n5\t", "5"), "thousands": ("1,234,567.5", "1234567.5"), "minus zero": ("-0", "0"),
    "exponent": ("1e-5", "0.00001"), "capital exponent": ("1.2E+3", "1200"), "Unicode exponent": ("1e−2", "0.01"),
    "times": ("1.2 × 10^-5", "0.000012"), "x": ("1.2x10^3", "1200"), "star": ("2*10^2", "200"),
    "LaTeX times": (r"1.2 \times 10^{-5}", "0.000012"), "LaTeX dot": (r"3\cdot10^{2}", "300"), "dot": ("3·10⁻²", "0.03"), "braces": ("1.2 × 10^{-5}", "0.000012"), "power alone": ("10^6", "1000000"),
    "minus power": ("-10^-2", "-0.01"), "raised": ("10⁶", "1000000"), "raised minus": ("10⁻³", "0.001"),
    "beyond floats": ("9007199254740993", "9007199254740993"), "large": ("6.022e23", "6.022e23"),
    "small": ("1.6e-19", "1.6e-19"), "fifty digits": ("1" * 50, "1" * 50),
    "zeros in front": ("007", "7"),
}  # fmt: skip


@pytest.mark.parametrize(("text", "label"), NUMBERS.values(), ids=NUMBERS)
def test_number(text, label):
    claim = Quantity().claim(text)
    assert (claim.reason, claim.label) == ("OK", label)
    assert claim.value == float(claim.label)
    assert Quantity().claim(claim.label) == claim


NONE = {
    "two": "3 or 4", "between": "between 3 and 5", "range": "3-5", "dash": "3–5", "list": "3, 4", "and": "3 and 4",
    "error": "5 ± 1", "about": "~5", "roughly": "≈5", "words": "about 5", "less": "<5", "at least": "≥ 5",
    "fraction": "1/2", "sum": "2+3", "nan": "nan", "inf": "inf", "infinity": "-∞", "word": "five", "hex": "0x10",
    "comma decimals": "1,5", "bad thousands": "1,2345", "Indian thousands": "1,45,2", "blank thousands": "1 234",
    "underscores": "1_000", "full width": "１２", "Arabic": "١٢", "superscript": "⁵", "two exponents": "1e5e5",
    "two numbers, LaTeX": r"3 \times 4", "no mantissa": "e5", "no exponent": "1e", "no power": "10^", "sign alone": "-", "two signs": "--5",
    "percent without a unit": "12%", "unit without one": "12 g", "boxed": "\\boxed{5}", "bold": "**5**",
    "dollar": "$5$", "quoted": '"5"', "named": "answer: 5", "equals": "= 5", "NUL": "5\0", "zero width": "5\u200d0",
    "no-break space": "\u00a05", "surrogate": "5\ud800", "right to left": "\u200f5", "Cyrillic е": "1\u04355",
    "above bounds": "1e301", "below bounds": "1e-301", "absurd exponent": "1e9999", "51 digits": "1" * 51,
    "two periods": "5..", "second number after a blank": "5 6",
}  # fmt: skip


@pytest.mark.parametrize("text", NONE.values(), ids=NONE)
def test_no_number(text):
    assert Quantity().claim(text) == ("ANSWER_NOT_IN_VOCABULARY", None, None)


@pytest.mark.parametrize(
    ("text", "reason"),
    [("", "NO_ANSWER"), (" \n", "NO_ANSWER"), ("9" * 400, "TOO_LONG"), ("1" * 100_000, "TOO_LONG")],
    ids=["empty", "blank", "19 400 digits", "19 100,000 digits"],
)
def test_neither_short_nor_long(text, reason):
    assert Quantity().claim(text).reason == reason


CONVERTED = {
    "the same": ("µM", "12 µM", "12"), "bare": ("µM", "12", "12"), "glued": ("µM", "12µM", "12"),
    "Greek mu": ("µM", "12 μM", "12"), "u": ("µM", "12 uM", "12"), "Greek in the task": ("uM", "12 µM", "12"),
    "nM": ("µM", "12 nM", "0.012"), "mM": ("µM", "0.5 mM", "500"), "M": ("nM", "1e-6 M", "1000"),
    "mol/L": ("mM", "0.5 mol/L", "500"), "g": ("mg", "0.25 g", "250"), "kg": ("g", "1.5 kg", "1500"),
    "mL": ("L", "250 mL", "0.25"), "small l": ("mL", "2 l", "2000"), "kDa": ("Da", "52.5 kDa", "52500"),
    "g/mol": ("Da", "180.16 g/mol", "180.16"), "kb": ("bp", "1.5 kb", "1500"), "Mb": ("kb", "3.2 Mb", "3200"),
    "hours": ("h", "90 min", "1.5"), "a third": ("h", "20 min", "0.33333333333333333"), "days": ("h", "2 d", "48"),
    "Celsius": ("°C", "310.15 K", "37"), "kelvin": ("K", "37 °C", "310.15"), "per cent": ("%", "12%", "12"),
    "a share is not per cent": ("%", "0.12", "0.12"), "kcal": ("kJ/mol", "2 kcal/mol", "8.368"),
    "dalton by another name": ("Da", "180.16 amu", "180.16"), "per mole": ("Da", "180.16 g·mol⁻¹", "180.16"),
    "area, plainly": ("Å²", "20.2 A^2", "20.2"), "angstrom": ("nm", "15 Å", "1.5"), "area": ("Å²", "20.2 Å^2", "20.2"), "unit of no table": ("cells/mL", "1e6 cells/mL", "1000000"),
    "final period": ("mM", "5 mM.", "5"),
}  # fmt: skip


@pytest.mark.parametrize(("unit", "text", "label"), CONVERTED.values(), ids=CONVERTED)
def test_units(unit, text, label):
    claim = Quantity(unit).claim(text)
    assert (claim.reason, claim.label) == ("OK", label)


FOREIGN = {
    "another dimension": ("µM", "12 g"), "millimetre is no millimolar": ("mM", "12 mm"), "Mb is no mb": ("kb", "1 mb"),
    "m is no M": ("M", "1 m"), "two units": ("mg", "1 g mg"), "unit and words": ("mg", "5 mg or so"),
    "unit of no table, other case": ("cells/mL", "1 cells/ml"), "unit of no table, a convertible one": ("cells/mL", "1 mL"),
    "unit in front": ("mg", "mg 5"), "number in the unit": ("cells/mL", "3 4 cells/mL"), "Cyrillic М": ("M", "1 \u041c"),
}  # fmt: skip


@pytest.mark.parametrize(("unit", "text"), FOREIGN.values(), ids=FOREIGN)
def test_foreign_units(unit, text):
    assert Quantity(unit).claim(text).reason == "ANSWER_NOT_IN_VOCABULARY"


@CHEAP
@given(st.text(max_size=150), st.sampled_from(["", "µM", "°C", "parsec"]))
def test_total_and_canonical(text, unit):
    claim = Quantity(unit).claim(text)
    if claim.reason == "OK":
        assert math.isfinite(claim.value)
        assert Quantity(unit).claim(claim.label) == claim
    else:
        assert (claim.label, claim.value) == (None, None)


@CHEAP
@given(st.decimals(-(10**12), 10**12, places=6, allow_nan=False))
def test_decimals_survive(number):
    assert Decimal(Quantity().claim(str(number)).label) == number
    assert Decimal(written(number)) == number


@CHEAP
@given(st.sampled_from(sorted(UNITS)), st.sampled_from(sorted(UNITS)), st.integers(1, 10**6))
def test_units_convert_both_ways_or_not_at_all(one, other, count):
    there = Quantity(other).claim(f"{count} {one}")
    assert (there.reason == "OK") == (UNITS[one].dimension == UNITS[other].dimension)
    if there.reason == "OK":
        back = Quantity(one).claim(f"{there.label} {other}")
        assert float(back.label) == pytest.approx(count, rel=1e-9)


def test_floats_are_their_shortest_decimal():
    assert (exact(0.1), exact(500), exact(-8.0)) == (Decimal("0.1"), Decimal(500), Decimal(-8))
    assert [exact(x) for x in (math.nan, math.inf, -math.inf)] == [None] * 3
    assert not bounded(Decimal("NaN"))


def test_the_form_follows_the_rule():
    assert number_form(Number(unit="mM")) == Quantity("mM")
    assert number_form(Number(rule="bool_eq")) is BOOLEANS
    assert number_form(Number(rule="string_eq")) is VERBATIM


LINES = {
    "word": (" BRCA1 ", "OK", "BRCA1"), "sentence": ("p.Val600Glu", "OK", "p.Val600Glu"),
    "blank": (" ", "NO_ANSWER", None), "two lines": ("a\nb", "MALFORMED", None),
    "hidden": ("BRCA\u200d1", "MALFORMED", None), "mixed": ("BRC\u0410", "MALFORMED", None),
    "long": ("a" * 1001, "TOO_LONG", None),
}  # fmt: skip


@pytest.mark.parametrize(("text", "reason", "label"), LINES.values(), ids=LINES)
def test_lines(text, reason, label):
    assert VERBATIM.claim(text)[:2] == (reason, label)
