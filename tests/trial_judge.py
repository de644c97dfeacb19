"""A verifier that asks for whatever work its item's truth names, for tests of the pipeline."""

from __future__ import annotations

import msgspec

from service.rewards.core import Answer, Component, Finding, Item, Reason, Verdict, Work
from service.rewards.verifiers.judge import Judge

PROFILE = """
description = "whatever the truth asks for"
version = "1"
tasks = []
[[component]]
name = "trial"
verifier = "trial"
[[example]]
completion = "<think>It may be.</think> <answer>yes</answer>"
truth = ["double", 1]
"""


class TrialOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """None."""


class TrialJudge(Judge):
    """1 if the work gives something true, 0 if something false; no work without a truth."""

    Options = TrialOptions
    works = True

    def work(self, item: Item, answer: Answer) -> Work | None:
        if not isinstance(item.truth, list):
            return None
        name, *arguments = item.truth
        return Work(f"trials:{name}", tuple(arguments))

    def score_finding(self, item: Item, answer: Answer, finding: Finding) -> Component:
        if finding.reason is not Reason.OK:
            return self.missing(finding.reason)
        return Component(self.name, float(bool(finding.value)), self.weight)

    def score(self, item: Item, answer: Answer, verdicts: tuple[Verdict, ...]) -> Component:
        return self.missing(Reason.NO_TRUTH)
