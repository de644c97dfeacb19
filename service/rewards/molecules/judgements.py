"""What workers are asked of molecules: each function takes plain data and returns a ``Ruling``.

    equal       is the answer the truth's molecule, in the representation asked for?
    satisfies   does the answer meet the task's constraints, and could it exist?
    measure     what is a descriptor of the task's molecule?
    valid       is the answer a molecule at all?

Whose fault it is decides the reason. The answer's: MALFORMED or TOO_LONG, which make the item
invalid, since an answer that is no molecule says nothing; it earns the floor, which no readable
wrong answer falls below. The task's: BAD_ITEM, the truth's: BAD_TRUTH. They are read first, so
that no completion is blamed for them. An answer that is a molecule and not one that was asked for
is wrong and readable: 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from service.rewards.molecules import Ruling, Unreadable, fragments
from service.rewards.molecules.constraints import (
    Constraint,
    ConstraintFault,
    met,
    references,
)
from service.rewards.molecules.descriptors import describe
from service.rewards.molecules.equality import identity
from service.rewards.molecules.formula import formula_of, normal_formula
from service.rewards.molecules.reading import quiet, read
from service.rewards.molecules.reasonable import complaints
from service.rewards.molecules.similarity import similarity

if TYPE_CHECKING:
    from rdkit.Chem import Mol

NEARLY: Final = 0.99
"""The most that a molecule earns by similarity that is not the truth's."""


def equal(
    answer: str,
    representation: str,
    truth: str,
    written: str,
    stereo: str,
    tautomers: str,
    salts: str,
    graded: bool,
) -> Ruling:
    """Whether ``answer`` is the molecule ``truth``.

    Args:
        answer: one token, in ``representation`` (smiles, selfies, inchi, formula).
        representation: what the task asks for.
        truth: in the representation ``written``.
        written: as ``representation``.
        stereo: ``strict`` or ``ignore``; as the next two, see ``equality``.
        tautomers: as above.
        salts: as above.
        graded: whether another molecule earns its similarity.
    """
    with quiet():
        if representation == "formula":
            return _equal_formulas(answer, truth, written)
        if "inchi" in (representation, written):
            tautomers = "ignore"  # an InChI does not say which one is meant
        try:
            wanted = read(truth, written)
            key = identity(wanted, stereo, tautomers, salts)
        except Unreadable as refused:
            return Ruling("BAD_TRUTH", None, f"truth: {refused}")
        if representation == "inchi" and answer == key and key.startswith("InChI="):
            return Ruling("OK", 1.0)  # RDKit does not read every InChI that it writes
        try:
            given = read(answer, representation)
        except Unreadable as refused:
            return refusal(refused)
        try:
            if identity(given, stereo, tautomers, salts) == key:
                return Ruling("OK", 1.0)
        except Unreadable:  # a molecule, with what is no counter-ion: another one
            return Ruling("OK", 0.0)
        if not graded or fragments.count(given) != fragments.count(wanted):
            return Ruling("OK", 0.0)  # two guesses are not half an answer
        return Ruling("OK", min(NEARLY, similarity(given, wanted)))


def satisfies(
    answer: str, constraints: Sequence[Sequence[str | float]], salts: str, least: int, most: int
) -> Ruling:
    """Which share of the constraints the answer meets; 0 for what no chemist would make.

    Args:
        answer: SMILES.
        constraints: as ``constraints.Constraint``.
        salts: ``forbid`` any second fragment, or ``ignore`` counter-ions and judge the parent.
        least: heavy atoms, where no constraint states a formula.
        most: heavy atoms.
    """
    wanted = [Constraint(*one) for one in constraints]  # type: ignore[arg-type] # as made there
    with quiet():
        try:
            excused = references(wanted)
        except ConstraintFault as fault:
            return Ruling("BAD_ITEM", None, str(fault))
        try:
            molecule = read(answer)
        except Unreadable as refused:
            return refusal(refused)
        stated = any(one.kind == "formula" for one in wanted)
        whole = designed(molecule, salts, 1 if stated else least, most, excused)
        if whole is None:
            return Ruling("OK", 0.0)
        return Ruling("OK", sum(met(whole, one) for one in wanted) / len(wanted))


def designed(
    molecule: Mol, salts: str, least: int, most: int, excused: Sequence[Mol] = ()
) -> Mol | None:
    """The molecule that a design is judged by; None where it is none that could be made."""
    if fragments.count(molecule) > 1:
        if salts == "forbid":
            return None
        try:
            molecule = fragments.bare(molecule)  # not neutralised: no ion buys a proton
        except Unreadable:
            return None
        if fragments.count(molecule) > 1:
            return None
    if not least <= molecule.GetNumHeavyAtoms() <= most:
        return None
    found = complaints(molecule)
    return None if found and found - _excuses(excused) else molecule


def measure(molecule: str, name: str) -> Ruling:
    """A descriptor's value, as the score of the ruling (here in the descriptor's own unit)."""
    with quiet():
        try:
            return Ruling("OK", describe(read(molecule), name))
        except Unreadable as refused:
            return Ruling("BAD_ITEM", None, f"task.molecule: {refused}")


def valid(answer: str, representation: str, reasonable: bool) -> Ruling:
    """1 where the answer is a molecule; with ``reasonable`` one that could be made."""
    with quiet():
        try:
            if representation == "formula":
                normal_formula(answer)
                return Ruling("OK", 1.0)
            molecule = read(answer, representation)
        except Unreadable as refused:
            return refusal(refused)
        return Ruling("OK", float(not reasonable or not complaints(molecule)))


def refusal(refused: Unreadable) -> Ruling:
    """An answer that is no molecule: the completion's fault."""
    return Ruling("TOO_LONG" if refused.long else "MALFORMED", None, str(refused))


def _equal_formulas(answer: str, truth: str, written: str) -> Ruling:
    try:
        wanted = normal_formula(truth) if written == "formula" else formula_of(read(truth, written))
    except Unreadable as refused:
        return Ruling("BAD_TRUTH", None, f"truth: {refused}")
    try:
        return Ruling("OK", float(normal_formula(answer) == wanted))
    except Unreadable as refused:
        return refusal(refused)


def _excuses(molecules: Sequence[Mol]) -> frozenset[str]:
    return frozenset[str]().union(*(complaints(one) for one in molecules))
