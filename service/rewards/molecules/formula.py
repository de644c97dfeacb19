"""Molecular formulas and their one normal form: Hill order, then the charge.

Hill order: carbon, hydrogen, then the other elements by alphabet; without carbon all of them by
alphabet (Hill, J. Am. Chem. Soc. 1900, 22, 478). The charge as RDKit writes it, ``+`` or ``-2``
(``Ca2+`` is two calciums that share one charge).
Case decides: ``CO`` is carbon monoxide and ``Co`` cobalt. Each element stands once, in any order;
``C2H5OH``, brackets, hydrates, isotopes and numbers in front are refused.
"""

from __future__ import annotations

import re
from typing import Final

from service.rewards.molecules import Unreadable

MAX_CHARS: Final = 100
_SYMBOLS: Final = (
    "H He Li Be B C N O F Ne Na Mg Al Si P S Cl Ar K Ca Sc Ti V Cr Mn Fe Co Ni Cu Zn Ga Ge As Se "
    "Br Kr Rb Sr Y Zr Nb Mo Tc Ru Rh Pd Ag Cd In Sn Sb Te I Xe Cs Ba La Ce Pr Nd Pm Sm Eu Gd Tb Dy "
    "Ho Er Tm Yb Lu Hf Ta W Re Os Ir Pt Au Hg Tl Pb Bi Po At Rn Fr Ra Ac Th Pa U Np Pu Am Cm Bk Cf "
    "Es Fm Md No Lr Rf Db Sg Bh Hs Mt Ds Rg Cn Nh Fl Mc Lv Ts Og"
)
_ELEMENTS: Final = frozenset(_SYMBOLS.split())
_WHOLE: Final = re.compile(
    r"(?P<atoms>(?:[A-Z][a-z]?[0-9]{0,4})+)(?P<charge>[+-][1-9]?)?", re.ASCII
)
_ATOM: Final = re.compile(r"([A-Z][a-z]?)([0-9]*)", re.ASCII)


def normal_formula(text: str) -> str:
    """The normal form of a formula.

    Raises:
        Unreadable: it is none.
    """
    if len(text) > MAX_CHARS:
        raise Unreadable(f"a formula of {len(text)} characters, at most {MAX_CHARS}", long=True)
    found = _WHOLE.fullmatch(text)
    if found is None:
        raise Unreadable(f"not a formula such as C9H8O4: {text!r}")
    counts: dict[str, int] = {}
    for element, count in _ATOM.findall(found["atoms"]):
        if element not in _ELEMENTS:
            raise Unreadable(f"not a formula: {element!r} is no element")
        if element in counts:
            raise Unreadable(f"not a molecular formula: {element} stands twice")
        if count.startswith("0"):
            raise Unreadable(f"not a formula: {element}{count}")
        counts[element] = int(count or 1)
    return _hill(counts) + _charge(found["charge"] or "")


def formula_of(molecule: object) -> str:
    """The normal formula of an RDKit molecule, isotopes counted as their element."""
    from rdkit.Chem import rdMolDescriptors

    made: str = rdMolDescriptors.CalcMolFormula(molecule)
    return made


def _hill(counts: dict[str, int]) -> str:
    order = sorted(counts)
    if "C" in counts:
        first = [element for element in ("C", "H") if element in counts]
        order = first + [element for element in order if element not in first]
    return "".join(f"{one}{counts[one] if counts[one] > 1 else ''}" for one in order)


def _charge(text: str) -> str:
    return text.removesuffix("1")
