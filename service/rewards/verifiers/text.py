"""The answer, a passage, against a reference text: ROUGE-2, -3 or -L with guards (``texts``).

ROUGE-1 counts words in any order, so that a shuffled word salad scores as the text itself: it may
be shown (``role = "report"``) and never earns. Repetition, denial and boilerplate are paid as
``service.rewards.texts`` says; the task's question counts as boilerplate, so that echoing it earns
nothing.

Truth: one reference, or a list of them, of which the best counts. It is worked out under a budget
(``rouge-score`` is plain Python). What is not covered: whether the text is true beyond its
agreement with the reference, and other languages than English.
"""

from __future__ import annotations

from typing import Annotated, Final

import msgspec

from service.rewards.core import Answer, Component, Finding, Item, Reason, Verdict, Work
from service.rewards.errors import ProfileFault
from service.rewards.forms import Form
from service.rewards.library import Library
from service.rewards.texts import MOST, Measure, plain, words
from service.rewards.verifiers.judge import Fault, Judge

MAX_REFERENCES: Final = 10
_LEAST_WORDS: Final = {"rouge1": 1, "rouge2": 2, "rouge3": 3, "rougeL": 1}


class TextOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The keys of a ``text`` component."""

    measure: Measure = "rougeL"
    """rouge2 | rouge3 | rougeL, and rouge1 where it is shown only."""
    longest: Annotated[float, msgspec.Meta(ge=1.0, le=20.0)] = 4.0
    """How many times the reference's words an answer may have; longer ones score 0."""
    boilerplate: tuple[str, ...] = ()
    """Texts of your domain that say nothing: what they earn is taken off."""


class TextJudge(Judge):
    """Agreement with a reference text beyond what boilerplate reaches, in [0, 1]."""

    Options = TextOptions
    tasks = ("text", "gene.function")
    truth = "hard"
    works = True

    def __init__(self, name: str, weight: float, options: TextOptions, library: Library):
        super().__init__(name, weight, options, library)
        self.options = options
        refuse_salad(options.measure, weight)
        for index, text in enumerate(options.boilerplate):
            if len(words(text)) > MOST:
                raise ProfileFault(f"boilerplate: text {index + 1} has more than {MOST:,} words")

    def fault(self, item: Item, form: Form) -> Fault | None:
        """BAD_TRUTH for what is no text, or one too short or too long to compare."""
        truth = item.truth
        if truth is None:
            return None
        references = truth if isinstance(truth, list) else [truth]
        if not 1 <= len(references) <= MAX_REFERENCES:
            return Reason.BAD_TRUTH, f"truth: expected 1 to {MAX_REFERENCES} texts"
        least, total = _LEAST_WORDS[self.options.measure], 0
        for index, one in enumerate(references):
            where = f"truth[{index}]" if isinstance(truth, list) else "truth"
            if not isinstance(one, str):
                return Reason.BAD_TRUTH, f"{where}: expected a text, got {one!r:.80}"
            count = len(words(one))
            total += count
            if not least <= count <= MOST:
                return (
                    Reason.BAD_TRUTH,
                    f"{where}: {count} words of Latin letters; {self.options.measure} compares "
                    f"{least} to {MOST:,}",
                )
        if total > MOST:  # what a comparison costs is the references' doing, not the policy's
            return Reason.BAD_TRUTH, f"truth: {total:,} words in all; at most {MOST:,} are compared"
        return None

    def work(self, item: Item, answer: Answer) -> Work | None:
        """The comparison; None without a truth."""
        truth = item.truth
        if truth is None:
            return None
        references = truth if isinstance(truth, list) else [str(truth)]
        question = getattr(item.task, "question", "")
        echo = (question,) if question and len(words(question)) <= MOST else ()
        options = self.options
        return Work(
            "service.rewards.texts:corrected",
            (
                options.measure,
                plain(answer.claimed),
                tuple(plain(one) for one in references),
                tuple(plain(one) for one in (*options.boilerplate, *echo)),
                options.longest,
            ),
        )

    def score_finding(self, item: Item, answer: Answer, finding: Finding) -> Component:
        """The figure that the comparison gave."""
        if finding.reason is not Reason.OK:
            return self.missing(finding.reason)
        return Component(self.name, finding.value, self.weight)

    def score(self, item: Item, answer: Answer, verdicts: tuple[Verdict, ...]) -> Component:
        """Without a truth there is nothing to compare."""
        return self.missing(Reason.NO_TRUTH)


def refuse_salad(measure: str, weight: float) -> None:
    """Let ROUGE-1 count for nothing.

    Raises:
        ProfileFault: a component that earns by ROUGE-1.
    """
    if measure == "rouge1" and weight > 0:
        raise ProfileFault(
            "measure: rouge1 counts words in any order and pays shuffled ones in full; use rouge2 "
            'or rougeL, or show it only with role = "report"'
        )
