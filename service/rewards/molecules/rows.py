"""The rows of ether0 (dataset futurehouse/ether0-benchmark), as far as a molecule answers them.

A row's ``solution`` is ``function!:!info!:!type``. Read here, without RDKit:

========================= ============================= =====================================
function                  info                          what is asked
========================= ============================= =====================================
formula_eval              SMILES                        a molecule of its formula, similar ≥ 0.7
functional_group_eval     ('C5H11Br', ['bromide', …])   a molecule of the formula with the groups
caption_eval              SMILES                        the molecule that a text describes
product_eval              SMILES                        the product of a reaction
str_eval                  SMILES                        one of the molecules in the question
valid_mol_eval            the beginning of a SMILES     its completion
========================= ============================= =====================================

Refused, since no string settles them: ``rxn_forward`` (a reaction model and a catalogue of what is
for sale), ``sol_eval`` (a solubility model), ``rxn_eval`` and ``should_not_answer_eval`` (text),
``should_answer_eval`` (any molecule at all would earn). Groups are those of our own table
(``groups``); a row with another is refused, for nobody here knows what it means.
"""

from __future__ import annotations

import ast
import functools
from typing import Final, NamedTuple

from service.rewards.errors import nearest
from service.rewards.molecules import Unreadable
from service.rewards.molecules.formula import normal_formula
from service.rewards.molecules.groups import GROUP_NAMES, group_name

SEPARATOR: Final = "!:!"
SUPPORTED: Final = (
    "formula_eval",
    "functional_group_eval",
    "caption_eval",
    "product_eval",
    "str_eval",
    "valid_mol_eval",
)
REFUSED: Final = {
    "rxn_forward": "it needs a reaction model and a catalogue of purchasable molecules",
    "sol_eval": "it needs a solubility model",
    "rxn_eval": "its answer is text",
    "should_not_answer_eval": "its answer is text",
    "should_answer_eval": "any molecule would earn",
}
MAX_INFO: Final = 1000
MAX_GROUPS: Final = 20


class Row(NamedTuple):
    """What a row asks, as plain data."""

    function: str
    subject: str
    """A SMILES, the beginning of one, or a formula in normal form."""
    groups: tuple[str, ...] = ()


class RowFault(ValueError):
    """A text is no row that is judged here; the message says what is supported."""


def read_row(solution: object) -> Row:
    """What a row's ``solution`` asks.

    Raises:
        RowFault: it is no such row, or one that needs more than molecules.
    """
    if not isinstance(solution, str) or solution.count(SEPARATOR) != 2:
        raise RowFault(
            f"truth: expected a row of ether0, function!:!info!:!type, got {solution!r:.80}"
        )
    if len(solution) > 2 * MAX_INFO:
        raise RowFault(f"truth: {len(solution)} characters, a row has at most {2 * MAX_INFO}")
    return _row(solution)


@functools.lru_cache(maxsize=1024)
def _row(solution: str) -> Row:
    """One row comes with every completion of a group."""
    function, info, _ = (part.strip() for part in solution.split(SEPARATOR))
    if function not in SUPPORTED:
        why = REFUSED.get(function)
        known = ", ".join(SUPPORTED)
        if why is not None:
            raise RowFault(f"truth: {function} is not judged here, {why}; judged: {known}")
        raise RowFault(f"truth: unknown function {function!r:.80}{nearest(function, SUPPORTED)}")
    if not 0 < len(info) <= MAX_INFO:
        raise RowFault(f"truth: info has {len(info)} characters, expected 1 to {MAX_INFO}")
    if function == "functional_group_eval":
        return Row(function, *_formula_and_groups(info))
    if not info.isascii() or not info.isprintable() or " " in info:
        raise RowFault(f"truth: expected a SMILES in {function}, got {info!r:.80}")
    return Row(function, info)


def _formula_and_groups(info: str) -> tuple[str, tuple[str, ...]]:
    try:
        found = ast.literal_eval(info)
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        found = None
    match found:
        case (str(formula), list(names)) if len(names) <= MAX_GROUPS:
            pass
        case _:
            raise RowFault(f"truth: expected ('C5H11Br', ['bromide', …]), got {info!r:.80}")
    try:
        formula = normal_formula(formula)
    except Unreadable as refused:
        raise RowFault(f"truth: {refused}") from None
    groups = []
    for name in names:
        known = group_name(name) if isinstance(name, str) else None
        if known is None:
            raise RowFault(f"truth: unknown group {name!r:.80}{nearest(str(name), GROUP_NAMES)}")
        groups.append(known)
    return formula, tuple(groups)
