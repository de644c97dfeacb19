"""Judges as public reward code has them, so that it is seen that the red team can fail."""

from __future__ import annotations

import msgspec

from service.rewards.core import Answer, Component, Item, Verdict
from service.rewards.verifiers.judge import Judge


class Nothing(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """No options."""


class Recall(Judge):
    """Share of the reference's words that occur: ROUGE-1 recall."""

    Options = Nothing
    tasks = ("text",)

    def score(self, item: Item, answer: Answer, verdicts: tuple[Verdict, ...]) -> Component:
        words = set(str(item.truth).lower().split())
        said = set(answer.claimed.lower().split())
        return Component(self.name, len(words & said) / len(words), self.weight)


class Substring(Judge):
    """Whether the true label occurs in the answer."""

    Options = Nothing
    tasks = ("label",)

    def score(self, item: Item, answer: Answer, verdicts: tuple[Verdict, ...]) -> Component:
        right = str(item.truth).lower() in answer.claimed.lower()
        return Component(self.name, float(right), self.weight)


class Glued(Judge):
    """Counts think blocks: leaves [0, 1]."""

    Options = Nothing

    def score(self, item: Item, answer: Answer, verdicts: tuple[Verdict, ...]) -> Component:
        return Component(self.name, float(answer.text.count("<think>")), self.weight)


class Breaks(Judge):
    """Encodes what cannot be encoded."""

    Options = Nothing

    def score(self, item: Item, answer: Answer, verdicts: tuple[Verdict, ...]) -> Component:
        return Component(self.name, 1.0 / (1 + len(answer.text.encode())), self.weight)


class Defaults(Judge):
    """Gives one half where nothing is known."""

    Options = Nothing

    def score(self, item: Item, answer: Answer, verdicts: tuple[Verdict, ...]) -> Component:
        if item.truth is None:
            return Component(self.name, 0.5, self.weight)
        return Component(self.name, float(item.truth == answer.label), self.weight)
