"""Does perturbing one gene change another (``perturbation.de``), and which way (``.dir``)?

With ``relation = "gene.coexpression"`` the same question is put to a co-expression model, as rbio
does with TranscriptFormer's PMI (bioRxiv 2025.08.18.670981): subject and object are the two genes,
the context the cell line; such a component also judges ``gene.coexpression`` tasks.
Not covered: ``perturbation.response``.
"""

from __future__ import annotations

from typing import Final

from service.rewards.core import Item, Query, Reason
from service.rewards.errors import ProfileFault, nearest
from service.rewards.tasks import GeneCoexpression, PerturbationDE, PerturbationDir
from service.rewards.verifiers.asked import AskedJudge
from service.rewards.verifiers.judge import Fault
from service.rewards.verifiers.pair import pair_fault, pair_question

_RELATIONS = {
    "perturbation.de": ("perturbation.de",),
    "perturbation.dir": ("perturbation.dir",),
    "gene.coexpression": ("perturbation.de", "gene.coexpression"),
}

_PERTURBED: Final = (PerturbationDE, PerturbationDir)
"""Made once: a union of types would be, at each look."""


class PerturbationJudge(AskedJudge):
    """Asks a world model whether, or which way, the readout changes."""

    tasks = ("perturbation.de", "perturbation.dir", "gene.coexpression")

    def bind(self, task_types: tuple[str, ...]) -> None:
        """Check that the relation fits every task type."""
        relation = self.options.relation
        if relation is not None and relation not in _RELATIONS:
            raise ProfileFault(f"relation: {relation!r} is unknown{nearest(relation, _RELATIONS)}")
        for task in task_types:
            if task not in _RELATIONS[relation or task] or (not relation and "pert" not in task):
                raise ProfileFault(
                    f"relation: a {task} task cannot be asked as {relation or task!r}; "
                    f"give the component relation = {task!r} or take the task type out"
                )
        super().bind(task_types)

    def task_fault(self, item: Item) -> Fault | None:
        """BAD_ITEM for a blank perturbation or gene."""
        task = item.task
        if isinstance(task, _PERTURBED):
            genes = [task.perturbation] if isinstance(task.perturbation, str) else task.perturbation
            if not genes or not all(gene.strip() for gene in genes):
                return Reason.BAD_ITEM, "task.perturbation: expected a gene name, got a blank"
            if not task.gene.strip():
                return Reason.BAD_ITEM, "task.gene: expected a gene name, got a blank"
        elif isinstance(task, GeneCoexpression):
            return pair_fault(task.genes)
        return None

    def question(self, item: Item) -> Query:
        """Perturbed gene (a combination as ``A+B``), readout, cell line."""
        task, options = item.task, self.options
        if isinstance(task, _PERTURBED):
            subject = task.perturbation
            if not isinstance(subject, str):
                subject = "+".join(subject)
            kind = "perturbation.de" if isinstance(task, PerturbationDE) else "perturbation.dir"
            relation = options.relation or kind
            return Query(options.model, relation, subject, task.gene, task.cell_line)
        assert isinstance(task, GeneCoexpression)  # Profile.fault let nothing else through
        return pair_question(options.model, "gene.coexpression", task)
