"""Whether a molecule answers a row of ether0 (``rows`` says which rows, and what they ask).

Departures from the public reward, each for what it paid: letter case counts in every row (benzene
is not cyclohexane); the similarity of a formula row counts environments (``similarity``), so that
no chain equals a longer one; counter-ions come from a closed table and the rest of an answer is
one molecule, where the public code took the largest piece of whatever was there; a completion that
adds nothing to the row's beginning completes nothing; what could not be made (``reasonable``)
earns 0, but for what the row's own molecule has too.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from service.rewards.molecules import Ruling, Unreadable, fragments
from service.rewards.molecules.formula import formula_of
from service.rewards.molecules.groups import count_groups
from service.rewards.molecules.judgements import designed, refusal
from service.rewards.molecules.reading import canonical, quiet, read
from service.rewards.molecules.rows import Row
from service.rewards.molecules.similarity import similarity

if TYPE_CHECKING:
    from rdkit.Chem import Mol

SIMILAR: Final = 0.7
MOST_ATOMS: Final = 200
_RING_BOND: Final = re.compile(r"\[[^\]]*\]?|%\(\d+\)|%\d\d|\d")


def answers(answer: str, function: str, subject: str, groups: tuple[str, ...]) -> Ruling:
    """1 where the answer is what the row asks for, else 0.

    Args:
        answer: SMILES; of a completion row also its missing end.
        function: as ``rows.Row``; as the next two.
        subject: as above.
        groups: as above.
    """
    row = Row(function, subject, tuple(groups))
    with quiet():
        if function == "valid_mol_eval":
            return _completes(answer, subject)
        wanted = None
        if function != "functional_group_eval":
            try:
                wanted = read(subject)
            except Unreadable as refused:
                return Ruling("BAD_TRUTH", None, f"truth: {refused}")
        try:
            given = read(answer)
        except Unreadable as refused:
            return refusal(refused)
        if wanted is None:
            return Ruling("OK", float(_has_groups(given, row)))
        if function == "formula_eval":
            return Ruling("OK", float(_isomer(given, wanted)))
        return Ruling("OK", float(_bare(given) == _bare(wanted)))


def _isomer(given: Mol, wanted: Mol) -> bool:
    """Whether a molecule has the other's formula and is similar to it."""
    if formula_of(given) != formula_of(wanted):
        return False
    if fragments.count(given) != fragments.count(wanted):
        return False
    if canonical(given) == canonical(wanted):
        return True
    if fragments.count(given) == 1 and designed(given, "forbid", 1, MOST_ATOMS, (wanted,)) is None:
        return False
    return similarity(given, wanted) >= SIMILAR


def _has_groups(given: Mol, row: Row) -> bool:
    if formula_of(given) != row.subject:
        return False
    if designed(given, "forbid", 1, MOST_ATOMS) is None:
        return False
    return all(count_groups(given, name) for name in row.groups)


def _bare(molecule: Mol) -> str:
    """A molecule without its counter-ions; with several parts that are none, all of it."""
    try:
        return canonical(fragments.bare(molecule))
    except Unreadable:
        return canonical(molecule)


def _completes(answer: str, beginning: str) -> Ruling:
    whole = answer if answer.startswith(beginning) else beginning + answer
    try:
        molecule = read(whole)
    except Unreadable as refused:
        return refusal(refused)
    if whole == beginning:
        return Ruling("OK", 0.0)
    made = designed(molecule, "forbid", 1, MOST_ATOMS, _stub(beginning))
    return Ruling("OK", float(made is not None))


def _stub(beginning: str) -> tuple[Mol, ...]:
    """The beginning by itself, its open branches and rings closed off; () where that is none.

    What already speaks against the beginning is not the completion's fault.
    """
    rings = [found.group() for found in _RING_BOND.finditer(beginning)]
    single = {bond for bond in rings if bond[0] != "[" and rings.count(bond) % 2}
    left = _RING_BOND.sub(lambda found: "" if found.group() in single else found.group(), beginning)
    left = left.rstrip("(=#-/\\:")
    try:
        return (read(left + ")" * (left.count("(") - left.count(")"))),)
    except Unreadable:
        return ()
