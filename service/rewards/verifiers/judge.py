"""What a verifier is to a profile.

A judge is built once, when its profile loads, from its options (a struct whose fields are the
keys that the profile's ``[[component]]`` may carry), and is stateless afterwards.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar, Literal

import msgspec

from service.rewards.core import Answer, Component, Finding, Item, Query, Reason, Verdict, Work
from service.rewards.forms import Form
from service.rewards.library import Library
from service.rewards.priors import NONE, Prior, Specs

Fault = tuple[Reason, str]
"""A reason of status "error" and a message that names the item's field."""


class Judge(ABC):
    """One component of a profile.

    Attributes:
        name: the component's name in results.
        weight: its weight, echoed in results.
        tasks: the task types it can judge; None: any, and items without a task.
        gap: the least by which the best answer's score beats every other's wherever there is a
            score, and of graded scores the least by which any two that differ do: 1 for hard
            verdicts, ``min_gap`` for soft ones, ``step`` for graded ones, 0 where nothing is known.
        truth: the form of truth in the request that it reads; None: it reads none.
        textual: whether it judges only how the completion is written (may be a gate).
        selectors: the (model selector, relation) pairs it asks.
        lacks: what the server must be given before this judge can work, each with what to do;
            empty where nothing is missing.
        works: whether it may ask for ``work``.
        carded: whether it answers only what the card of the model asked proves reliable.
        states: what an answer must state for it, its class or the probability of the positive
            class (``[extract] states``); None: either.
    """

    Options: ClassVar[type[msgspec.Struct]]
    tasks: ClassVar[tuple[str, ...] | None] = None
    textual: ClassVar[bool] = False
    truth: Literal["soft", "hard"] | None = None
    works: ClassVar[bool] = False
    carded: bool = False

    def __init__(self, name: str, weight: float, options: msgspec.Struct, library: Library):
        self.name = name
        self.weight = weight
        self.gap = 0.0
        self.selectors: tuple[tuple[str, str], ...] = ()
        self.lacks: tuple[str, ...] = ()
        self.states: Literal["label", "probability"] | None = None

    def bind(self, task_types: tuple[str, ...]) -> None:  # noqa: B027 - most need nothing
        """Learn the task types of the profile; may raise ``ProfileFault`` or set ``selectors``."""

    def fault(self, item: Item, form: Form) -> Fault | None:
        """What makes this item impossible to judge, whatever the completion says."""
        return None

    def queries(self, item: Item) -> tuple[Query, ...]:
        """The questions to world models; none for a pure checker.

        By the task only, never by the completion: what a world model is asked, and hence whether
        it abstains, must be out of the policy's reach.
        """
        return ()

    def asks(self, item: Item) -> int:
        """How many they are."""
        return len(self.queries(item))

    def work(self, item: Item, answer: Answer) -> Work | None:
        """What must be computed under a budget before judging; None: nothing, ``score`` decides.

        For what may take long (molecules, long texts): it is done in another process, which is
        killed where it exceeds the item's budget. Only where ``works`` is set.
        """
        return None

    def score_finding(self, item: Item, answer: Answer, finding: Finding) -> Component:
        """Judge by what came of ``work``. A finding without a value has no opinion."""
        raise AssertionError(f"{type(self).__name__} asks for work and cannot score it")

    def explain(self, finding: Finding) -> str | None:
        """For work that found the item itself at fault: what is wrong with it, and where."""
        return None

    def remark(self, item: Item, component: Component) -> str | None:
        """For a component of its own without an opinion: why, in words; None: the reason says it.

        By the item only, never by the completion.
        """
        return None

    @abstractmethod
    def score(self, item: Item, answer: Answer, verdicts: tuple[Verdict, ...]) -> Component:
        """Judge. ``verdicts`` answer ``queries(item)``, same order and length."""

    def certainty(self, component: Component) -> float:
        """What an item of this score is worth to a trainer, in [0,1].

        |2p−1| where a probability of the positive class stands behind it, else 1. A judge that
        scores by another figure than ``p`` says how certain that figure is.
        """
        return 1.0 if component.p is None else abs(2.0 * component.p - 1.0)

    def prior(self, specs: Specs) -> Prior:
        """What it pays on average before anything is known of the question."""
        return NONE

    def missing(self, reason: Reason) -> Component:
        """This component without an opinion."""
        return Component(self.name, None, self.weight, status=reason.value)
