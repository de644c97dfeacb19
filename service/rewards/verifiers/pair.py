"""Are two genes co-expressed, do they interact, are they similar? One world model's word on it.

Tasks ``gene.coexpression``, ``gene.interaction``, ``gene.similarity``; the relation asked is the
task's own. The first gene is the subject, the second the object, in the order of the task.
"""

from __future__ import annotations

from service.rewards.core import Item, Query, Reason
from service.rewards.errors import ProfileFault
from service.rewards.tasks import GeneCoexpression, GeneInteraction, GeneSimilarity
from service.rewards.verifiers.asked import AskedJudge
from service.rewards.verifiers.judge import Fault

PairTask = GeneCoexpression | GeneInteraction | GeneSimilarity
_RELATION = {
    GeneCoexpression: "gene.coexpression",
    GeneInteraction: "gene.interaction",
    GeneSimilarity: "gene.similarity",
}


def pair_fault(genes: tuple[str, str]) -> Fault | None:
    """BAD_ITEM for a blank gene name."""
    for index, gene in enumerate(genes):
        if not gene.strip():
            return Reason.BAD_ITEM, f"task.genes[{index}]: expected a gene name, got a blank"
    return None


def pair_question(model: str, relation: str, task: PairTask) -> Query:
    """The question of a gene pair, in the order of the task."""
    return Query(model, relation, task.genes[0], task.genes[1], task.context)


class PairJudge(AskedJudge):
    """Asks a world model about two genes."""

    tasks = ("gene.coexpression", "gene.interaction", "gene.similarity")

    def bind(self, task_types: tuple[str, ...]) -> None:
        """Check that a stated relation is the one of every task type."""
        relation = self.options.relation
        for task in task_types:
            if relation not in (None, task):
                raise ProfileFault(
                    f"relation: a {task} task cannot be asked as {relation!r}; leave relation out"
                )
        super().bind(task_types)

    def task_fault(self, item: Item) -> Fault | None:
        """BAD_ITEM for a blank gene name."""
        task = item.task
        return pair_fault(task.genes) if isinstance(task, PairTask) else None

    def question(self, item: Item) -> Query:
        """The two genes and their context."""
        task = item.task
        assert isinstance(task, PairTask)  # Profile.fault let nothing else through
        return pair_question(self.options.model, _RELATION[type(task)], task)
