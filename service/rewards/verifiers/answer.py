"""The answer against the truth in the request: rbio's class confidences, or one label.

Score: soft labels give the confidence of the claimed class (rbio's ``class_confidences``); a hard
label gives 1 if the answer is it, else 0. Without truth there is no opinion (NO_TRUTH). ``p`` is
stated for soft labels of a vocabulary with a positive class: the confidence of "yes" (or "up").

With ``score = "brier"`` or ``"log"`` the answer states a probability of the positive class
(``[extract] states = "probability"``) and earns most where that is the truth's own: p is the
positive class's confidence, 1 or 0 for a hard label (``proper``). Confidences must sum to 1 then.
"""

from __future__ import annotations

from typing import Annotated, Final, Literal

import msgspec

from service.rewards.core import Answer, Component, Item, Reason, Verdict
from service.rewards.forms import Form, FormFault
from service.rewards.library import Library
from service.rewards.proper import Rule, expected
from service.rewards.truth import confidences, hard_label, truth_fault
from service.rewards.verifiers.judge import Fault, Judge
from service.rewards.vocabulary import Vocabulary, vocabulary_of

_ROUNDED: Final = 0.011
"""How far confidences that were rounded to two decimals may be from a sum of 1."""


class AnswerOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The keys of an ``answer`` component."""

    score: Literal["class", "brier", "log"] = "class"
    """``class``: what the claimed class earns; others: what a stated probability does."""
    labels: Literal["as given", "hard"] = "as given"
    """``hard``: soft labels stand for their likeliest class; a tie is LOW_CONFIDENCE."""
    min_gap: Annotated[float, msgspec.Meta(ge=0.0, le=1.0)] = 0.0
    """Soft labels whose two likeliest classes are nearer than this are LOW_CONFIDENCE."""
    epsilon: Annotated[float, msgspec.Meta(ge=1e-6, le=0.25)] = 0.01
    """Where ``score = "log"`` is clipped: stated certainty beyond it earns and costs no more."""


class AnswerJudge(Judge):
    """Scores the claimed class by what the request itself knows."""

    Options = AnswerOptions
    truth = "soft"

    def __init__(self, name: str, weight: float, options: AnswerOptions, library: Library):
        super().__init__(name, weight, options, library)
        self.options = options
        self.proper = options.score != "class"
        self.states = "probability" if self.proper else "label"
        self.gap = 0.0 if self.proper else 1.0 if options.labels == "hard" else options.min_gap

    def fault(self, item: Item, form: Form) -> Fault | None:
        """BAD_TRUTH for a truth that is neither a class nor well-formed soft labels."""
        try:
            vocabulary = vocabulary_of(item.task)
        except FormFault as fault:
            return Reason.BAD_ITEM, str(fault)
        if found := truth_fault(item, vocabulary):
            return found
        if self.proper:
            return self._improper(item, vocabulary)
        return None

    def _improper(self, item: Item, vocabulary: Vocabulary) -> Fault | None:
        if vocabulary.positive is None or len(vocabulary.labels) != 2:
            message = "task: a probability answers questions of yes and no only"
            return Reason.BAD_ITEM, message
        if isinstance(item.truth, dict):
            total = sum(confidences(item.truth, vocabulary).values())
            if abs(total - 1.0) > _ROUNDED:
                return Reason.BAD_TRUTH, f"truth.confidences: they sum to {total:g}, not to 1"
        return None

    def score(self, item: Item, answer: Answer, verdicts: tuple[Verdict, ...]) -> Component:
        """Confidence of the claimed class, or 1 or 0 against a hard label."""
        truth = item.truth
        if truth is None:
            return self.missing(Reason.NO_TRUTH)
        vocabulary = vocabulary_of(item.task)
        if self.proper:
            return self._proper(item, answer, vocabulary)
        if not isinstance(truth, dict):
            right = hard_label(truth, vocabulary) == answer.label
            return Component(self.name, float(right), self.weight)
        known = confidences(truth, vocabulary)
        claimed = known[answer.label or ""]
        hard = self.options.labels == "hard"
        if hard or self.options.min_gap:
            best, second = sorted(known.values(), reverse=True)[:2]
            if best - second < self.options.min_gap or (hard and best == second):
                return self.missing(Reason.LOW_CONFIDENCE)
            if hard:
                return Component(self.name, float(claimed == best), self.weight)
        p = None if vocabulary.positive is None else known[vocabulary.positive]
        return Component(self.name, claimed, self.weight, p)

    def _proper(self, item: Item, answer: Answer, vocabulary: Vocabulary) -> Component:
        """What stating q earns where the truth's probability of the positive class is p."""
        truth, q = item.truth, answer.value
        assert vocabulary.positive is not None  # fault lets no other vocabulary through
        assert isinstance(q, float)  # soundness: such profiles read probabilities only
        if isinstance(truth, dict):
            p = confidences(truth, vocabulary)[vocabulary.positive]
        else:
            p = float(hard_label(truth, vocabulary) == vocabulary.positive)
        hard = self.options.labels == "hard"
        if abs(2.0 * p - 1.0) < self.options.min_gap or (hard and p == 0.5):
            return self.missing(Reason.LOW_CONFIDENCE)
        if hard:
            p = float(p > 0.5)
        rule: Rule = "log" if self.options.score == "log" else "brier"
        return Component(self.name, expected(rule, q, p, self.options.epsilon), self.weight, p)

    def certainty(self, component: Component) -> float:
        """1 under a proper score, which pays for doubt where there is doubt."""
        return 1.0 if self.proper else super().certainty(component)
