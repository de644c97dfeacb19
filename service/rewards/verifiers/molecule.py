"""What the verifiers of molecules have in common: their work, and whose fault its ruling is.

Chemistry is done in a worker process (``service.rewards.molecules``). A ruling that the answer is
no molecule makes the item invalid, as an answer outside a vocabulary does: MALFORMED, or TOO_LONG
where it is too large or cost more than the item's budget. It is not a 0, so that metrics tell the
unreadable from the wrong; it earns the floor, which is at most 0.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from service.rewards.core import Answer, Component, Finding, Item, Reason, Verdict
from service.rewards.molecules import Ruling, lacking
from service.rewards.verifiers.judge import Judge

if TYPE_CHECKING:
    import msgspec

    from service.rewards.library import Library

MAX_TEXT = 1000
"""Characters of a molecule in a task or a truth."""


class MoleculeJudge(Judge):
    """A judge whose work ends in a ``Ruling``."""

    works = True

    def __init__(self, name: str, weight: float, options: msgspec.Struct, library: Library):
        super().__init__(name, weight, options, library)
        self.lacks = lacking()
        self.states = "label"

    def score(self, item: Item, answer: Answer, verdicts: tuple[Verdict, ...]) -> Component:
        """What no work was asked for: there is nothing to compare with."""
        return self.missing(Reason.NO_TRUTH)

    def score_finding(self, item: Item, answer: Answer, finding: Finding) -> Component:
        """The ruling's score, or whose fault it is that there is none."""
        if finding.reason is not Reason.OK:
            return self.missing(finding.reason)
        ruling = Ruling(*finding.value)
        if ruling.score is None:
            return self.missing(Reason(ruling.reason))
        return Component(self.name, self.graded(item, answer, ruling.score), self.weight)

    def graded(self, item: Item, answer: Answer, score: float) -> float:
        """The component's score, from the ruling's."""
        return score

    def explain(self, finding: Finding) -> str | None:
        """What the work found wrong with the item."""
        return (Ruling(*finding.value).message or None) if finding.reason is Reason.OK else None


def text_fault(text: object, where: str) -> str | None:
    """What is wrong with a molecule's text in a task or a truth, as far as its characters show."""
    if not isinstance(text, str) or not text:
        return f"{where}: expected a molecule as text, got {text!r:.80}"
    if len(text) > MAX_TEXT:
        return f"{where}: {len(text)} characters, at most {MAX_TEXT}"
    if not text.isascii() or not text.isprintable() or " " in text:
        return f"{where}: expected printable ASCII without blanks, got {text!r:.80}"
    return None
