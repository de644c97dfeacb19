"""Does the designed molecule satisfy what the task asks of it?

Score: 1 if every constraint holds, else 0; with ``score = "share"`` the share that holds. Either
way gated: an answer that is no molecule is invalid, and one that no chemist would make (more than
one fragment, too small or too large, a complaint of ``service.rewards.molecules.reasonable``)
earns 0. Constraints are those of ``service.rewards.molecules.constraints``; a wrong one is
BAD_ITEM with its index. The task is its own truth.

Limit: patterns are bounded in length, not in cost. One of many wildcards may take longer on a large
answer than the item's budget, which makes the answer TOO_LONG: write patterns of atoms that are
named.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from service.rewards.core import Answer, Item, Reason, Work
from service.rewards.errors import ProfileFault
from service.rewards.forms import Form
from service.rewards.library import Library
from service.rewards.molecules.constraints import ConstraintFault, read_constraints
from service.rewards.tasks import MoleculeConstraints
from service.rewards.verifiers.judge import Fault
from service.rewards.verifiers.molecule import MoleculeJudge


class ConstraintsOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The keys of a ``molecule.constraints`` component."""

    score: Literal["all", "share"] = "all"
    """Whether every constraint must hold, or each earns its share."""
    salts: Literal["forbid", "ignore"] = "forbid"
    """Of an answer with counter-ions: earns 0, or is judged by what is left without them."""
    least_atoms: Annotated[int, msgspec.Meta(ge=1, le=300)] = 4
    """Heavy atoms of a design; a task that states a formula states its size itself."""
    most_atoms: Annotated[int, msgspec.Meta(ge=1, le=300)] = 100
    """Heavy atoms of a design."""


class ConstraintsJudge(MoleculeJudge):
    """1 for a molecule that could be made and meets every constraint."""

    Options = ConstraintsOptions
    tasks = ("molecule.constraints",)

    def __init__(self, name: str, weight: float, options: ConstraintsOptions, library: Library):
        super().__init__(name, weight, options, library)
        if options.least_atoms > options.most_atoms:
            raise ProfileFault(
                f"least_atoms: {options.least_atoms} is more than most_atoms, {options.most_atoms}"
            )
        self.options = options
        self.gap = 1.0 if options.score == "all" else 0.02  # at most 50 constraints

    def fault(self, item: Item, form: Form) -> Fault | None:
        """BAD_ITEM for a constraint that makes no sense."""
        assert isinstance(item.task, MoleculeConstraints)  # Profile.fault let nothing else through
        try:
            read_constraints(item.task.constraints)
        except ConstraintFault as fault:
            return Reason.BAD_ITEM, str(fault)
        return None

    def work(self, item: Item, answer: Answer) -> Work | None:
        """Hold the answer against every constraint."""
        assert isinstance(item.task, MoleculeConstraints)
        constraints = tuple(tuple(one) for one in read_constraints(item.task.constraints))
        options = self.options
        return Work(
            "service.rewards.molecules.judgements:satisfies",
            (answer.label, constraints, options.salts, options.least_atoms, options.most_atoms),
        )

    def graded(self, item: Item, answer: Answer, score: float) -> float:
        """The share, or whether it is all of them."""
        return score if self.options.score == "share" else float(score == 1.0)
