"""Is the number the descriptor of the task's molecule?

Score: 1 within the tolerance of what RDKit computes, edges included, else 0. Counts are exact
whatever the tolerance. The tolerance is the task's, else the profile's, else the descriptor's own
(``service.rewards.molecules.descriptors``, which lists units, ranges and sources). Only the task
decides how long the computation takes, so that what exceeds the budget is BAD_ITEM. The task is
its own truth.
"""

from __future__ import annotations

from typing import Annotated

import msgspec

from service.rewards.core import Answer, Component, Finding, Item, Reason, Work
from service.rewards.errors import nearest
from service.rewards.forms import Form
from service.rewards.library import Library
from service.rewards.molecules.descriptors import DESCRIPTORS
from service.rewards.tasks import MoleculeProperty
from service.rewards.verifiers.judge import Fault
from service.rewards.verifiers.molecule import MoleculeJudge, text_fault

_SLACK = 1e-9
"""For sums that binary floats cannot hold exactly."""


class MoleculePropertyOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The keys of a ``molecule.property`` component."""

    tolerance: Annotated[float, msgspec.Meta(ge=0.0, le=1e6)] | None = None
    """In the descriptor's unit; None: the descriptor's own."""


class MoleculePropertyJudge(MoleculeJudge):
    """1 for the descriptor's value."""

    Options = MoleculePropertyOptions
    tasks = ("molecule.property",)

    def __init__(
        self, name: str, weight: float, options: MoleculePropertyOptions, library: Library
    ):
        super().__init__(name, weight, options, library)
        self.options = options
        self.gap = 1.0

    def fault(self, item: Item, form: Form) -> Fault | None:
        """BAD_ITEM for an unknown descriptor, or a molecule that is no text."""
        task = item.task
        assert isinstance(task, MoleculeProperty)  # Profile.fault let nothing else through
        if task.property not in DESCRIPTORS:
            known = nearest(task.property[:100].lower(), DESCRIPTORS)
            return Reason.BAD_ITEM, f"task.property: unknown {task.property!r:.80}{known}"
        found = text_fault(task.molecule, "task.molecule")
        return None if found is None else (Reason.BAD_ITEM, found)

    def work(self, item: Item, answer: Answer) -> Work | None:
        """Compute the descriptor, once for all completions of the task."""
        task = item.task
        assert isinstance(task, MoleculeProperty)
        return Work("service.rewards.molecules.judgements:measure", (task.molecule, task.property))

    def score_finding(self, item: Item, answer: Answer, finding: Finding) -> Component:
        """As the others, but for a molecule that costs more than the budget: the task's fault."""
        if finding.reason is Reason.TOO_LONG:
            return self.missing(Reason.BAD_ITEM)
        return super().score_finding(item, answer, finding)

    def explain(self, finding: Finding) -> str | None:
        """What the work found wrong with the molecule."""
        if finding.reason is Reason.TOO_LONG:
            return "task.molecule: its descriptor takes more than the server's budget for an item"
        return super().explain(finding)

    def graded(self, item: Item, answer: Answer, score: float) -> float:
        """Whether the answer is within the tolerance of the value."""
        task = item.task
        assert isinstance(task, MoleculeProperty)
        tolerance = DESCRIPTORS[task.property].tolerance
        if tolerance is None:
            return float(answer.value == round(score))
        stated = (task.tolerance, self.options.tolerance)
        tolerance = next((one for one in stated if one is not None), tolerance)
        assert isinstance(answer.value, float)  # its form reads nothing else
        return float(abs(answer.value - score) <= tolerance + _SLACK)
