"""The answer against the truth in the request: rbio's class confidences, or one label.

Score: soft labels give the confidence of the claimed class (rbio's ``class_confidences``); a hard
label gives 1 if the answer is it, else 0. Without truth there is no opinion (NO_TRUTH). ``p`` is
stated for soft labels of a vocabulary with a positive class: the confidence of "yes" (or "up").
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from service.rewards.core import Answer, Component, Item, Reason, Verdict
from service.rewards.forms import Form
from service.rewards.library import Library
from service.rewards.truth import confidences, hard_label, truth_fault
from service.rewards.verifiers.judge import Fault, Judge
from service.rewards.vocabulary import vocabulary_of


class AnswerOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The keys of an ``answer`` component."""

    labels: Literal["as given", "hard"] = "as given"
    """``hard``: soft labels stand for their likeliest class; a tie is LOW_CONFIDENCE."""
    min_gap: Annotated[float, msgspec.Meta(ge=0.0, le=1.0)] = 0.0
    """Soft labels whose two likeliest classes are nearer than this are LOW_CONFIDENCE."""


class AnswerJudge(Judge):
    """Scores the claimed class by what the request itself knows."""

    Options = AnswerOptions
    truth = "soft"

    def __init__(self, name: str, weight: float, options: AnswerOptions, library: Library):
        super().__init__(name, weight, options, library)
        self.options = options
        self.gap = 1.0 if options.labels == "hard" else options.min_gap

    def fault(self, item: Item, form: Form) -> Fault | None:
        """BAD_TRUTH for a truth that is neither a class nor well-formed soft labels."""
        return truth_fault(item, vocabulary_of(item.task))

    def score(self, item: Item, answer: Answer, verdicts: tuple[Verdict, ...]) -> Component:
        """Confidence of the claimed class, or 1 or 0 against a hard label."""
        truth = item.truth
        if truth is None:
            return self.missing(Reason.NO_TRUTH)
        vocabulary = vocabulary_of(item.task)
        if not isinstance(truth, dict):
            right = hard_label(truth, vocabulary) == answer.label
            return Component(self.name, float(right), self.weight)
        known = confidences(truth, vocabulary)
        best, second = sorted(known.values(), reverse=True)[:2]
        hard = self.options.labels == "hard"
        if best - second < self.options.min_gap or (hard and best == second):
            return self.missing(Reason.LOW_CONFIDENCE)
        claimed = known[answer.label or ""]
        if hard:
            return Component(self.name, float(claimed == best), self.weight)
        p = None if vocabulary.positive is None else known[vocabulary.positive]
        return Component(self.name, claimed, self.weight, p)
