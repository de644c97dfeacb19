"""Does the molecule answer a row of ether0?

The truth is the row's ``solution``, ``function!:!info!:!type``; ``service.rewards.molecules.rows``
lists which functions are judged and why the others are BAD_TRUTH, and
``service.rewards.molecules.ether0`` where this departs from the public reward. Score: 1 or 0.
"""

from __future__ import annotations

import msgspec

from service.rewards.core import Answer, Item, Reason, Work
from service.rewards.forms import Form
from service.rewards.library import Library
from service.rewards.molecules.rows import RowFault, read_row
from service.rewards.tasks import MoleculeEqual
from service.rewards.verifiers.judge import Fault
from service.rewards.verifiers.molecule import MoleculeJudge


class Ether0Options(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An ``ether0`` component has no keys of its own: the row says everything."""


class Ether0Judge(MoleculeJudge):
    """1 for a molecule that the row asks for."""

    Options = Ether0Options
    tasks = ("molecule.equal",)
    truth = "hard"

    def __init__(self, name: str, weight: float, options: Ether0Options, library: Library):
        super().__init__(name, weight, options, library)
        self.gap = 1.0

    def fault(self, item: Item, form: Form) -> Fault | None:
        """BAD_TRUTH for what is no row, or none that a molecule settles."""
        if isinstance(item.task, MoleculeEqual) and item.task.representation != "smiles":
            message = f"task.representation: ether0 asks for smiles, not {item.task.representation}"
            return Reason.BAD_ITEM, message
        if item.truth is None:
            return None
        try:
            read_row(item.truth)
        except RowFault as fault:
            return Reason.BAD_TRUTH, str(fault)
        return None

    def work(self, item: Item, answer: Answer) -> Work | None:
        """Hold the answer against the row, where there is one."""
        if item.truth is None:
            return None
        return Work(
            "service.rewards.molecules.ether0:answers", (answer.label, *read_row(item.truth))
        )
