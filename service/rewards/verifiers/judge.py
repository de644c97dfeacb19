"""What a profile needs to know of a verifier beyond ``core.Verifier``.

A judge is built once, when its profile loads, from its options (a struct whose fields are the
keys that the profile's ``[[component]]`` may carry), and is stateless afterwards.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar, Literal

import msgspec

from service.rewards.core import Answer, Component, Item, Query, Reason, Verdict
from service.rewards.vocabulary import Vocabulary
from worldmodels.genes import GeneResolver

Fault = tuple[Reason, str]
"""A reason of status "error" and a message that names the item's field."""


class Judge(ABC):
    """One component of a profile.

    Attributes:
        name: the component's name in results.
        weight: its weight, echoed in results.
        tasks: the task types it can judge; None: any, and items without a task.
        gap: the least by which the best answer's score beats every other's wherever there is a
            score: 1 for hard verdicts, ``min_gap`` for soft ones, 0 where nothing is known.
        truth: the form of truth in the request that it reads; None: it reads none.
        textual: whether it judges only how the completion is written (may be a gate).
        selectors: the (model selector, relation) pairs it asks.
    """

    Options: ClassVar[type[msgspec.Struct]]
    tasks: ClassVar[tuple[str, ...] | None] = None
    textual: ClassVar[bool] = False
    truth: Literal["soft", "hard"] | None = None

    def __init__(self, name: str, weight: float, options: msgspec.Struct, genes: GeneResolver):
        self.name = name
        self.weight = weight
        self.gap = 0.0
        self.selectors: tuple[tuple[str, str], ...] = ()

    def bind(self, task_types: tuple[str, ...]) -> None:  # noqa: B027 - most need nothing
        """Learn the task types of the profile; may raise ``ProfileFault`` or set ``selectors``."""

    def fault(self, item: Item, vocabulary: Vocabulary) -> Fault | None:
        """What makes this item impossible to judge, whatever the completion says."""
        return None

    def queries(self, item: Item) -> tuple[Query, ...]:
        """The questions to world models; none for a pure checker."""
        return ()

    @abstractmethod
    def score(self, item: Item, answer: Answer, verdicts: tuple[Verdict, ...]) -> Component:
        """Judge. ``verdicts`` answer ``queries(item)``, same order and length."""

    def certainty(self, component: Component) -> float:
        """What an item of this score is worth to a trainer, in [0,1].

        |2p−1| where a probability of the positive class stands behind it, else 1. A judge that
        scores by another figure than ``p`` says how certain that figure is.
        """
        return 1.0 if component.p is None else abs(2.0 * component.p - 1.0)

    def missing(self, reason: Reason) -> Component:
        """This component without an opinion."""
        return Component(self.name, None, self.weight, status=reason.value)
