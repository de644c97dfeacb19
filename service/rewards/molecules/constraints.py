"""Constraints on a molecule: their shape, read without RDKit, and whether a molecule meets them.

Each constraint is an object with one of these keys, and bounds where they make sense:

    {"property": "logp", "at_least": 1, "at_most": 3}      # descriptors.DESCRIPTORS
    {"property": "molecular_weight", "equals": 180.16, "tolerance": 0.1}
    {"formula": "C9H8O4"}                                  # the whole molecule's
    {"substructure": "c1ccccc1C(=O)O", "at_least": 1}      # SMARTS; matches, default at least 1
    {"group": "carboxylic acid", "equals": 1}              # groups.GROUP_NAMES; default at least 1
    {"scaffold": "c1ccc2[nH]ccc2c1"}                       # same Bemis-Murcko scaffold as this
    {"similar_to": "CC(=O)Oc1ccccc1C(=O)O", "at_least": 0.6, "at_most": 0.95}

``equals`` takes ``tolerance`` (default: the descriptor's; counts are exact). Bounds are inclusive.
The scaffold (Bemis and Murcko, J. Med. Chem. 1996, 39, 2887: rings and what links them) is
compared without stereo. SMARTS are bounded (200 characters, recursion two deep) and run only in a
worker; matches are counted by their set of atoms, up to 1,000.
"""

from __future__ import annotations

import functools
import math
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from service.rewards.errors import nearest
from service.rewards.molecules import Unreadable, reading
from service.rewards.molecules.descriptors import DESCRIPTORS, describe
from service.rewards.molecules.formula import formula_of, normal_formula
from service.rewards.molecules.groups import GROUP_NAMES, count_groups, group_name
from service.rewards.molecules.similarity import similarity

if TYPE_CHECKING:
    from rdkit.Chem import Mol

KINDS: Final = ("property", "formula", "substructure", "group", "scaffold", "similar_to")
MAX_CONSTRAINTS: Final = 50
MAX_SMARTS: Final = 200
MAX_MATCHES: Final = 1000
_BOUNDS: Final = ("at_least", "at_most", "equals", "tolerance")
_BOUNDED: Final = ("property", "substructure", "group", "similar_to")
_MOST: Final = 1e300
"""Bounds lie below it; whole numbers of JSON may be beyond what a float holds."""
_SLACK: Final = 1e-9
_SMARTS: Final = re.compile(r"[!-~]+")


class Constraint(NamedTuple):
    """One constraint, as plain data."""

    kind: str
    subject: str
    """A descriptor, formula, SMARTS, group or SMILES."""
    least: float
    most: float


class ConstraintFault(ValueError):
    """A constraint makes no sense; the message names index and key."""


def read_constraints(entries: Sequence[Mapping[str, Any]]) -> tuple[Constraint, ...]:
    """The constraints of a task.

    Raises:
        ConstraintFault: one has an unknown key, a wrong type or bounds that nothing meets.
    """
    if not 1 <= len(entries) <= MAX_CONSTRAINTS:
        raise ConstraintFault(
            f"task.constraints: expected 1 to {MAX_CONSTRAINTS} of them, got {len(entries)}"
        )
    return tuple(_read(entry, f"task.constraints[{index}]") for index, entry in enumerate(entries))


def _read(entry: Mapping[str, Any], where: str) -> Constraint:
    kinds = [key for key in KINDS if key in entry]
    if len(kinds) != 1:
        raise ConstraintFault(f"{where}: expected one of {', '.join(KINDS)}, got {sorted(entry)}")
    kind = kinds[0]
    allowed = (kind, *(_BOUNDS if kind in _BOUNDED else ()))
    for key in entry:
        if key not in allowed:
            raise ConstraintFault(f"{where}: unknown key {key!r}{nearest(key, allowed)}")
    subject = entry[kind]
    if not isinstance(subject, str) or not subject:
        raise ConstraintFault(f"{where}.{kind}: expected a string, got {subject!r:.80}")
    subject = _subject(kind, subject, f"{where}.{kind}")
    least, most = _bounds(entry, kind, subject, where)
    if least > most:
        raise ConstraintFault(f"{where}: no value is at least {least:g} and at most {most:g}")
    return Constraint(kind, subject, least, most)


def _subject(kind: str, text: str, where: str) -> str:
    if kind == "property":
        if text not in DESCRIPTORS:
            raise ConstraintFault(f"{where}: unknown {text!r:.80}{nearest(text, DESCRIPTORS)}")
        return text
    if kind == "group":
        name = group_name(text)
        if name is None:
            raise ConstraintFault(f"{where}: unknown {text!r:.80}{nearest(text, GROUP_NAMES)}")
        return name
    if kind == "formula":
        try:
            return normal_formula(text)
        except Unreadable as refused:
            raise ConstraintFault(f"{where}: {refused}") from None
    if kind == "substructure":
        return _bounded_smarts(text, where)
    if len(text) > reading.MAX_CHARS:
        raise ConstraintFault(f"{where}: {len(text)} characters, at most {reading.MAX_CHARS}")
    return text


def _bounded_smarts(text: str, where: str) -> str:
    """Refuse what could cost its molecule's budget by itself."""
    if len(text) > MAX_SMARTS or not _SMARTS.fullmatch(text):
        raise ConstraintFault(f"{where}: expected a SMARTS of at most {MAX_SMARTS} characters")
    depth = deepest = 0
    nested: list[bool] = []
    for at, character in enumerate(text):
        if character == "(":
            recursive = text[at - 1 : at] == "$"
            nested.append(recursive)
            depth += recursive
            deepest = max(deepest, depth)
        elif character == ")" and nested:
            depth -= nested.pop()
    if deepest > 2:
        raise ConstraintFault(f"{where}: recursion $(…) more than two deep")
    return text


def _bounds(entry: Mapping[str, Any], kind: str, subject: str, where: str) -> tuple[float, float]:
    """Least and most, from whichever bounds are stated."""
    given = {key: _number(entry[key], f"{where}.{key}") for key in _BOUNDS if key in entry}
    if kind not in _BOUNDED:
        return 1.0, 1.0
    if "equals" in given:
        if "at_least" in given or "at_most" in given:
            raise ConstraintFault(f"{where}: equals stands alone, without at_least and at_most")
        usual = DESCRIPTORS[subject].tolerance if kind == "property" else None
        tolerance = given.get("tolerance", usual or 0.0)
        if tolerance < 0:
            raise ConstraintFault(f"{where}.tolerance: {tolerance:g} is negative")
        return given["equals"] - tolerance, given["equals"] + tolerance
    if "tolerance" in given:
        raise ConstraintFault(f"{where}.tolerance: only beside equals")
    if not given:
        if kind in ("property", "similar_to"):
            raise ConstraintFault(f"{where}: expected at_least, at_most or equals")
        return 1.0, math.inf
    most = 1.0 if kind == "similar_to" else math.inf
    return given.get("at_least", -math.inf), given.get("at_most", most)


def _number(value: object, where: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not -_MOST < value < _MOST:
        raise ConstraintFault(f"{where}: expected a number, got {value!r:.80}")
    return float(value)


# --- in the worker ---------------------------------------------------------------------------


def references(constraints: Sequence[Constraint]) -> tuple[Mol, ...]:
    """The molecules that the constraints name, for what their own shape excuses.

    Raises:
        ConstraintFault: a SMILES or a SMARTS that RDKit refuses, or a scaffold without rings.
    """
    found = []
    for index, one in enumerate(constraints):
        where = f"task.constraints[{index}].{one.kind}"
        if one.kind == "substructure":
            _query(one.subject, where)
        elif one.kind in ("scaffold", "similar_to"):
            found.append(_reference(one.subject, where))
            if one.kind == "scaffold" and not scaffold(found[-1]):
                raise ConstraintFault(f"{where}: {one.subject!r} has no ring, hence no scaffold")
    return tuple(found)


def met(molecule: Mol, constraint: Constraint) -> bool:
    """Whether the molecule meets a constraint that ``references`` passed."""
    measured = _measure(molecule, constraint)
    return constraint.least - _SLACK <= measured <= constraint.most + _SLACK


def _measure(molecule: Mol, constraint: Constraint) -> float:
    kind, subject = constraint.kind, constraint.subject
    if kind == "property":
        return describe(molecule, subject)
    if kind == "formula":
        return float(formula_of(molecule) == subject)
    if kind == "group":
        return count_groups(molecule, subject)
    if kind == "substructure":
        query = _query(subject, "substructure")
        return len(molecule.GetSubstructMatches(query, maxMatches=MAX_MATCHES))
    reference = _reference(subject, kind)
    if kind == "scaffold":
        return float(scaffold(molecule) == scaffold(reference))
    return similarity(molecule, reference)


def scaffold(molecule: Mol) -> str:
    """Canonical SMILES of the Bemis-Murcko scaffold, without stereo; "" without rings.

    Also "" where RDKit finds no valence for what is left ("[Zn]o1cccc1"): no answer of a policy
    may raise here.
    """
    from rdkit import Chem
    from rdkit.Chem.Scaffolds import MurckoScaffold

    try:
        core = MurckoScaffold.GetScaffoldForMol(molecule)
    except Chem.MolSanitizeException:
        return ""
    made: str = Chem.MolToSmiles(core, isomericSmiles=False)
    return made


@functools.lru_cache(maxsize=256)
def _reference(smiles: str, where: str) -> Mol:
    try:
        return reading.read(smiles)
    except Unreadable as refused:
        raise ConstraintFault(f"{where}: {refused}") from None


@functools.lru_cache(maxsize=256)
def _query(smarts: str, where: str) -> Mol:
    from rdkit import Chem

    query = Chem.MolFromSmarts(smarts)
    if query is None or query.GetNumAtoms() == 0:
        raise ConstraintFault(f"{where}: not a SMARTS that RDKit reads: {smarts!r}")
    return query
