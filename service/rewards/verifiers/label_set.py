"""A set of names against the true set: precision, recall, F1, Jaccard, plain or along an ontology.

The measures are those of ``service.rewards.overlap``. A cost is taken for naming more than there
is:

    score = max(0, m − cardinality · max(0, |A| − |T|)/|T|)

where m is the measure, along an ontology what of it lies beyond the naive guess. ``recall`` and
``f_max`` insist on such a cost: neither sees a wrong name by itself. For ``f_max`` each name may
carry a score in [0, 1] (``GO:0006457 0.9``; without one it counts as 1).

Truth: a list of names. Along an ontology each must be a term of it (id, name or exact synonym); one
that is not is BAD_TRUTH and not left out, since a truth with holes pays wrong figures. A truth that
consists of roots says nothing and abstains.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Annotated, Final, Literal

import msgspec

from service.rewards.core import Answer, Component, Item, Reason, Verdict
from service.rewards.errors import ProfileFault
from service.rewards.forms import Form, normal, normal_name
from service.rewards.library import Knowledge, Library
from service.rewards.overlap import Measure, Overlap, Propagation, commonest, plainly_growing
from service.rewards.tasks import LabelSet
from service.rewards.texts import above
from service.rewards.verifiers.judge import Fault
from service.rewards.verifiers.looked_up import LookingJudge

MAX_TRUTHS: Final = 10_000
_SCORED: Final = re.compile(r"(.*\S)[ \t]+([01](?:\.\d{1,6})?|\.\d{1,6})", re.DOTALL)


class LabelSetOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The keys of a ``label_set`` component."""

    measure: Measure = "f1"
    """precision | recall | f1 | jaccard | f_max."""
    knowledge: str | None = None
    """Ontology along which names are propagated, as ``[knowledge.NAME]``; None: plain sets."""
    information: Literal["annotations", "structure"] = "annotations"
    """Where a term's information comes from: how many genes have it (structure where the knowledge
    has no annotations), or how many terms lie below it."""
    beyond_naive: bool = True
    """Whether, along an ontology, what the commonest terms reach is taken off."""
    cardinality: Annotated[float, msgspec.Meta(ge=0.0, le=10.0)] = 0.0
    """Cost of naming more than the truth: by so much for as many names again."""


class LabelSetJudge(LookingJudge):
    """Overlap of the answered with the true set, in [0, 1]."""

    Options = LabelSetOptions
    tasks = ("label_set",)
    truth = "hard"

    def __init__(self, name: str, weight: float, options: LabelSetOptions, library: Library):
        super().__init__(name, weight, options, library)
        self.options = options
        if options.measure in ("recall", "f_max") and options.cardinality == 0.0:
            raise ProfileFault(
                f"cardinality: {options.measure} does not see wrong names, so listing everything "
                "would earn the most; set a cost above 0"
            )
        if options.measure == "precision" and options.knowledge is not None:
            if weight > 0:
                raise ProfileFault(
                    "measure: the most general term is always right, so precision along an "
                    'ontology pays for saying nothing; use f1, or show it with role = "report"'
                )
            if options.beyond_naive:
                raise ProfileFault("beyond_naive: no precision lies beyond the naive guess's 1")
        self.look_up_in(options.knowledge, library)
        self.along = propagation(self.known, options.information) if self.known else None
        self._naive = functools.lru_cache(maxsize=4096)(self._naive_guess)

    def fault(self, item: Item, form: Form) -> Fault | None:
        """BAD_TRUTH for what is no list of names, or of names that are no terms."""
        truth = item.truth
        if truth is None:
            return None
        if not isinstance(truth, list) or not 1 <= len(truth) <= MAX_TRUTHS:
            return Reason.BAD_TRUTH, f"truth: expected a list of 1 to {MAX_TRUTHS:,} names"
        classes = {normal(label) for label in _classes(item)}
        for index, name in enumerate(truth):
            if not isinstance(name, str) or not normal_name(name):
                return Reason.BAD_TRUTH, f"truth[{index}]: expected a name, got {name!r:.80}"
            if classes and normal(name) not in classes:
                return Reason.BAD_TRUTH, f"truth[{index}]: {name!r:.80} is none of task.classes"
            if self.along is not None and self.along.ontology.resolve(normal_name(name)) is None:
                where = f"knowledge {self.options.knowledge!r}"
                return (
                    Reason.BAD_TRUTH,
                    f"truth[{index}]: {name!r:.80} is no term of {where}; correct it, or load the "
                    "release that the truth is of",
                )
        return None

    def score(self, item: Item, answer: Answer, verdicts: tuple[Verdict, ...]) -> Component:
        """The measure less the cost of cardinality."""
        return self.told(self._judged(item, answer))

    def _judged(self, item: Item, answer: Answer) -> Component:
        truth = item.truth
        if not isinstance(truth, list):
            return self.missing(Reason.NO_TRUTH)
        true = frozenset(normal_name(name) for name in truth)
        wanted, baseline = true, 0.0
        if self.along is not None:
            wanted = self._terms(true)
            if wanted <= self.along.ontology.roots:
                return self.missing(Reason.NO_TRUTH)
            baseline = self._naive(wanted)
            if baseline >= 1.0:  # the truth is what fits any gene
                return self.missing(Reason.LOW_CONFIDENCE)
        value = answer.value
        written = value if isinstance(value, tuple) else (answer.claimed,)
        names = _scored(written) if self.options.measure == "f_max" else dict.fromkeys(written, 1.0)
        best = max([one.measure(self.options.measure) for one in self._overlaps(names, wanted)])
        size = len(true if self.along is None else self._terms(true))  # not what stands twice
        surplus = max(0, len(names) - size) / size
        score = max(0.0, above(best, baseline) - self.options.cardinality * surplus)
        return Component(self.name, score, self.weight)

    def _naive_guess(self, terms: frozenset[str]) -> float:
        assert self.along is not None
        if not self.options.beyond_naive:
            return 0.0
        return self.along.naive(terms, self.options.measure)

    def _terms(self, true: frozenset[str]) -> frozenset[str]:
        assert self.along is not None
        resolve = self.along.ontology.resolve
        return frozenset(term for name in true if (term := resolve(name)) is not None)

    def _overlaps(self, names: Mapping[str, float], wanted: frozenset[str]) -> Iterator[Overlap]:
        """Of the names at or above each score that is stated, highest first.

        Args:
            names: with their scores.
            wanted: the truth, along an ontology as ids.
        """
        by_score: dict[float, list[str]] = {}
        for name, score in names.items():
            by_score.setdefault(score, []).append(normal_name(name))
        groups = [by_score[score] for score in sorted(by_score, reverse=True)]
        if self.along is None:
            return plainly_growing(groups, wanted)
        resolve = self.along.ontology.resolve
        return self.along.growing([[resolve(name) for name in group] for group in groups], wanted)


def propagation(known: Knowledge, information: str) -> Propagation:
    """An ontology with the information of its terms, as a profile wants it."""
    annotations = known.annotations if information == "annotations" else None
    genes, bits = known.ontology.counts(annotations)
    common = commonest(known.ontology, genes)
    return Propagation(known.ontology, bits, max(bits.values()), common)


def _scored(names: Iterable[str]) -> dict[str, float]:
    """Names with the scores that the answer states; the first score of a name counts."""
    found: dict[str, float] = {}
    for name in names:
        match = _SCORED.fullmatch(name)
        score = float(match[2]) if match else 1.0
        if match and score <= 1.0:
            name = match[1]
        found.setdefault(name, min(score, 1.0))
    return found


def _classes(item: Item) -> list[str]:
    return item.task.classes if isinstance(item.task, LabelSet) else []
