"""Is the answer a molecule at all? For reports, beside a verifier that says whether it is right.

Score: 1 for a molecule in the representation asked for; with ``reasonable`` only for one that
draws no complaint of ``service.rewards.molecules.reasonable``. By itself it pays for any molecule,
and never for the right one: do not make it primary.
"""

from __future__ import annotations

import msgspec

from service.rewards.core import Answer, Item, Work
from service.rewards.library import Library
from service.rewards.tasks import MoleculeEqual
from service.rewards.verifiers.molecule import MoleculeJudge


class MoleculeValidOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The keys of a ``molecule.valid`` component."""

    reasonable: bool = True
    """Whether it must be one that could be made."""


class MoleculeValidJudge(MoleculeJudge):
    """1 for a molecule."""

    Options = MoleculeValidOptions
    tasks = ("molecule.equal", "molecule.constraints")

    def __init__(self, name: str, weight: float, options: MoleculeValidOptions, library: Library):
        super().__init__(name, weight, options, library)
        self.options = options
        self.gap = 1.0

    def work(self, item: Item, answer: Answer) -> Work | None:
        """Read the answer."""
        task = item.task
        representation = task.representation if isinstance(task, MoleculeEqual) else "smiles"
        return Work(
            "service.rewards.molecules.judgements:valid",
            (answer.label, representation, self.options.reasonable),
        )
