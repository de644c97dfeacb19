"""A verifier that puts one yes/no question to one world model and scores the answer by it.

With p = P(positive class) ("yes", or "up" for directions), the score is by ``score``:

* ``prob``: p if the answer is the positive class, 1 − p if it is the other (rbio's soft reward);
* ``raw``: the same with the family's own score before calibration, as rbio's TF reward takes n;
  a model that gives none in [0, 1] is an error that no retry mends (NO_RAW_SCORE);
* ``lift``: what the answer earns beyond a guess that is blind to the perturbation, 0.5 for nothing
  beyond it (``service.rewards.lift``); a model that states no p0 is an error too (NO_BASELINE);
* ``hard``: 1 if the answer is the class that p says, else 0; p = 0.5 says nothing;
* ``brier``, ``log``: of answers that state a probability (``[extract] states = "probability"``),
  most where they state p itself; see ``proper``. An item is then worth the same whatever p is: that
  p is near 0.5 is what the policy is to say.

Silence, whatever the answer: ``min_gap`` where both answers earn nearly the same, ``dead_zone``
where the perturbation changes the log-odds by little, ``coverage`` where the model's card does not
prove it reliable. An item's weight is by ``weight_by``.

The question depends on the task alone. Where the truth of the request is evidence too, it is
asked first or last by the order of ``evidence``.
"""

from __future__ import annotations

import re
from abc import abstractmethod
from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal

import msgspec

from service.rewards import lift
from service.rewards.core import (
    ERRORS,
    REASON_OF_STATUS,
    Answer,
    Component,
    Item,
    Query,
    Reason,
    Verdict,
)
from service.rewards.errors import ProfileFault
from service.rewards.forms import Form
from service.rewards.library import Library
from service.rewards.priors import NONE, NOT_SERVED, ZERO_LIFT, Prior, Specs, shared_rate
from service.rewards.proper import expected
from service.rewards.silence import silence
from service.rewards.truth import confidences, hard_label, truth_fault
from service.rewards.verifiers.judge import Fault, Judge
from service.rewards.vocabulary import vocabulary_of
from worldmodels.core import ANSWERED, DECIMALS


class AskedOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The keys of a component that asks a world model."""

    model: Annotated[str, msgspec.Meta(min_length=1)]
    """A served model's name, ``family:NAME``, or ``*`` for any that offers the relation."""
    relation: str | None = None
    """The relation asked; without it the task's own."""
    score: Literal["prob", "raw", "lift", "hard", "brier", "log"] = "prob"
    min_gap: Annotated[float, msgspec.Meta(ge=0.0, le=1.0)] = 0.0
    """Answers whose scores differ by less than this (|2p−1|, |2n−1| of the raw score n, or |2s−1|
    of the lift's) are LOW_CONFIDENCE."""
    evidence: tuple[Literal["truth", "model"], ...] = ("model",)
    """What is believed, in order; only ``score = "hard"`` may believe the truth."""
    epsilon: Annotated[float, msgspec.Meta(ge=1e-6, le=0.25)] = 0.01
    """Where ``score = "log"`` is clipped: stated certainty beyond it earns and costs no more."""
    dead_zone: Annotated[float, msgspec.Meta(ge=0.0, le=10.0)] = 0.0
    """Questions whose |logit p − logit p0| is less than this are LOW_CONFIDENCE."""
    coverage: Annotated[float, msgspec.Meta(gt=0.0, le=1.0)] | None = None
    """Answer only this share of questions, those that the model's card proves reliable; others are
    LOW_CONFIDENCE, and NO_CARD where no card says anything."""
    weight_by: Literal["certainty", "lift", "none"] | None = None
    """What an item is worth: |2p−1| (|2n−1| of a raw score), the size of the lift in [0, 1], or 1.
    By default certainty for ``prob`` and ``raw``, none for the others."""

    LATER: ClassVar[Mapping[str, object]] = {"dead_zone": 0.0, "coverage": None, "weight_by": None}
    """Keys that came after profiles were pinned, with their defaults: a recipe that leaves them out
    has the digest that it had."""


class AskedJudge(Judge):
    """What ``perturbation`` and ``pair`` have in common."""

    Options = AskedOptions

    def __init__(self, name: str, weight: float, options: AskedOptions, library: Library):
        super().__init__(name, weight, options, library)
        self.options = options
        self.hard = options.score == "hard"
        self.proper = options.score in ("brier", "log")
        self.states = "probability" if self.proper else "label"
        self.gap = 1.0 if self.hard else 0.0 if self.proper else options.min_gap
        self.carded = options.coverage is not None
        self.weight_by = options.weight_by or (
            "certainty" if options.score in ("prob", "raw") else "none"
        )
        self.compares = (
            self.carded or options.dead_zone > 0 or "lift" in (options.score, self.weight_by)
        )
        _check_selector(options.model)
        self.truth = "hard" if "truth" in options.evidence else None
        if not options.evidence or len(set(options.evidence)) != len(options.evidence):
            raise ProfileFault('evidence: expected ["truth", "model"] in some order, each once')
        if "truth" in options.evidence and not self.hard:
            raise ProfileFault(
                'evidence: only score = "hard" may believe the truth; '
                "use the verifier answer for soft labels"
            )

    def bind(self, task_types: tuple[str, ...]) -> None:
        """What must be served; nothing where the request's truth may settle the question."""
        wanted = (self.options.relation,) if self.options.relation else task_types
        if self.options.evidence == ("model",):
            self.selectors = tuple((self.options.model, name) for name in wanted if name)

    def fault(self, item: Item, form: Form) -> Fault | None:
        """BAD_ITEM for a question without its genes, BAD_TRUTH for a truth that is needed."""
        if "truth" in self.options.evidence and (
            found := truth_fault(item, vocabulary_of(item.task))
        ):
            return found
        return self.task_fault(item)

    @abstractmethod
    def task_fault(self, item: Item) -> Fault | None:
        """BAD_ITEM for a question without its genes."""

    @abstractmethod
    def question(self, item: Item) -> Query:
        """The one question that the item's task puts."""

    def queries(self, item: Item) -> tuple[Query, ...]:
        """One question, or none where the request's truth settles it."""
        return (self.question(item),) if self.asks(item) else ()

    def asks(self, item: Item) -> int:
        """1, or 0 where the request's truth settles it."""
        evidence = self.options.evidence
        return int(evidence[0] != "truth" or (len(evidence) > 1 and item.truth is None))

    def score(self, item: Item, answer: Answer, verdicts: tuple[Verdict, ...]) -> Component:
        """Believe the first evidence that has an opinion."""
        component = self._by_truth(item, answer) if not verdicts else None
        if component is None:
            component = self._by_model(item, answer, verdicts[0])
            if (
                component.score is None
                and self.options.evidence[1:] == ("truth",)
                and component.status not in ERRORS
                and item.truth is not None
            ):
                return self._by_truth(item, answer)
        return component

    def certainty(self, component: Component) -> float:
        """By ``weight_by``; 1 where no probability stands behind the score."""
        if self.weight_by == "none" or component.p is None:
            return 1.0
        if self.weight_by == "lift":
            assert component.p0 is not None  # without it there is no score
            return lift.weight(component.p, component.p0)
        if self.options.score == "raw" and component.score is not None:
            return abs(2.0 * component.score - 1.0)  # n or 1 − n: the same distance from 0.5
        return super().certainty(component)

    def prior(self, specs: Specs) -> Prior:
        """By the base rate of the models asked; none of a raw score, or beside a truth."""
        rule = self.options.score
        if rule == "lift":
            return ZERO_LIFT
        if rule == "raw" or not self.selectors:
            return NONE
        rate, names = shared_rate(self.selectors, specs)
        if not names:
            return NOT_SERVED
        if rate is None:
            return NONE._replace(told=f"since {names} states no base rate")
        if rule == "brier" or rule == "log":
            score = expected(rule, rate, rate, self.options.epsilon)
        else:
            score = rate**2 + (1.0 - rate) ** 2
        return Prior(round(score, DECIMALS), "base rate", f"at the base rate {rate:g} of {names}")

    def remark(self, item: Item, component: Component) -> str | None:
        """Why a probability that was given is not paid; None where the reason says it."""
        if component.p is None:
            return None
        return silence(self.name, Reason(component.status), component, self.question(item))

    def _by_truth(self, item: Item, answer: Answer) -> Component:
        truth = item.truth
        if truth is None:
            return self.missing(Reason.NO_TRUTH)
        vocabulary = vocabulary_of(item.task)
        if isinstance(truth, dict):
            known = confidences(truth, vocabulary)
            best = max(known.values())
            if list(known.values()).count(best) > 1:
                return self.missing(Reason.LOW_CONFIDENCE)
            return Component(self.name, float(known[answer.label or ""] == best), self.weight)
        right = hard_label(truth, vocabulary) == answer.label
        return Component(self.name, float(right), self.weight)

    def _by_model(self, item: Item, answer: Answer, verdict: Verdict) -> Component:
        made = Component(self.name, None, self.weight)
        made.cached = verdict.cached
        spec = verdict.model
        if spec is not None:
            made.model, made.version, made.digest = spec.name, spec.version, spec.digest
        if verdict.status != 0 or verdict.reason is not None:
            made.status = (verdict.reason or REASON_OF_STATUS[verdict.status]).value
            if verdict.status not in ANSWERED or verdict.reason is not None:
                return made
        p = verdict.p
        if p is None or not 0.0 <= p <= 1.0:
            made.status = Reason.MODEL_ERROR.value
            return made
        believed = verdict.raw if self.options.score == "raw" else p
        if believed is None or not 0.0 <= believed <= 1.0:
            made.status = Reason.NO_RAW_SCORE.value
            return made
        made.p, made.p0, made.uncertainty = p, verdict.p0, verdict.uncertainty
        if self.compares:
            reason = self._compared(item, p, verdict)
            if reason is not Reason.OK:
                made.status = reason.value
                return made
        if self.options.score == "lift":
            assert verdict.p0 is not None  # NO_BASELINE
            believed = lift.earned(p, verdict.p0)
        if abs(2.0 * believed - 1.0) < self.options.min_gap or (self.hard and p == 0.5):
            made.status = Reason.LOW_CONFIDENCE.value
            return made
        if self.options.score == "brier" or self.options.score == "log":
            q = answer.value
            assert isinstance(q, float)  # soundness: such profiles read probabilities only
            made.score = expected(self.options.score, q, p, self.options.epsilon)
            return made
        if self.hard:
            believed = float(p > 0.5)
        positive = vocabulary_of(item.task).positive
        made.score = believed if answer.label == positive else 1.0 - believed
        return made

    def _compared(self, item: Item, p: float, verdict: Verdict) -> Reason:
        """Whether what the perturbation adds is known, large and reliable enough to be paid."""
        p0 = verdict.p0
        if p0 is None or not 0.0 <= p0 <= 1.0:
            return Reason.NO_BASELINE
        change = lift.change(p, p0)
        if abs(change) < self.options.dead_zone:
            return Reason.LOW_CONFIDENCE
        if self.options.coverage is None:
            return Reason.OK
        question = self.question(item)
        proven = lift.proven(
            verdict.model, question.relation, question.context, self.options.coverage
        )
        if proven is None:
            return Reason.NO_CARD
        return Reason.OK if proven.answers(change, p0) else Reason.LOW_CONFIDENCE


def _check_selector(model: str) -> None:
    """A typing error in a selector would only show as a model that nobody serves."""
    bare, at, digest = model.partition("@")
    if at and not re.fullmatch("sha256:[0-9a-f]{64}", digest):
        raise ProfileFault(f"model: {model!r} pins {digest!r}; expected NAME@sha256:… of 64 digits")
    kind, colon, name = bare.partition(":")
    wanted = name if colon else kind
    if (colon and kind != "family") or not wanted.strip() or wanted != wanted.strip():
        raise ProfileFault(
            f"model: {model!r} selects nothing; expected a served model's name, family:NAME or *"
        )
    if "*" in model and model != "*":
        raise ProfileFault(f"model: {model!r}: * stands alone, for any model; it is no pattern")
