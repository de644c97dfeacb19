"""What becomes of a policy's answers, counted so that Prometheus can see a run go wrong.

Of every scored item: its answer (a policy that always answers alike has collapsed), each
component's score (form that rises while truth falls is a reward being gamed), and whether it
repeats its neighbours. All are counters, so that processes and replicas add up; shares, means and
entropies are the rules' (deploy/prometheus/rules.yaml). Limits: of a profile in a run the first
sixteen short answers are labels of their own, all others are counted in one of sixteen by their
hash; two that share a number cannot be told apart, and a collapse still shows.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final
from zlib import crc32

from service.metrics import Metrics, Numbers
from service.repetition import Repetition
from service.requests import BadItem
from service.rewards.core import Item, Result
from service.rewards.profiles import Profile

MOST_ANSWERS: Final = 16
BUCKETS: Final = 16
_LABEL: Final = re.compile(r"\w(?:[\w +-]{0,22}\w)?", re.ASCII)
"""What an answer looks like that is one of a few; of a text only its hash is shown."""


class _Tally:
    """The counters of one profile in one run, looked up once."""

    def __init__(self, metrics: Metrics, profile: Profile, run: str):
        self._metrics = metrics
        self._names = (profile.name, run)
        self.answers: dict[str | None, Numbers] = {}
        self.valid = metrics.component_counters(*self._names, "valid", "form")
        parts = [
            metrics.component_counters(
                *self._names, part.judge.name, "form" if part.judge.textual else "truth"
            )
            for part in profile.composition.parts
        ]
        self.parts = [count for count, _ in parts], [total for _, total in parts]

    def counter(self, answer: str) -> Numbers:
        if len(self.answers) < MOST_ANSWERS and _LABEL.fullmatch(answer):
            made = self.answers[answer] = self._metrics.answer_counter(*self._names, answer)
            return made
        bucket = crc32(answer.encode(errors="replace")) % BUCKETS
        return self._metrics.answer_counter(*self._names, f"#{bucket}")


class Trends:
    """Counts what becomes of answers.

    Args:
        metrics: the series.
    """

    def __init__(self, metrics: Metrics):
        self._metrics = metrics
        self._repetition = Repetition()
        self._tallies: dict[tuple[str, str], tuple[Profile, _Tally]] = {}

    def note(
        self,
        profile: Profile,
        run: str,
        items: Sequence[Item | BadItem],
        results: Sequence[Result],
    ) -> None:
        """Count what was given for items, one result for each."""
        label = self._metrics.run_label(run)
        tally = self._tally(profile, label)
        answers, parts = tally.answers, tally.parts
        scored = valid = 0
        for result in results:  # one plain loop: most requests bring one item
            if result.reward is None:
                continue
            scored += 1
            if result.status == "ok":
                valid += 1
                answer = result.answer
                if answer in answers:
                    answers[answer][0] += 1.0
                elif answer is not None:
                    tally.counter(answer)[0] += 1.0
            for component, count, total in zip(result.components, *parts, strict=True):
                score = component.score
                if score is not None:
                    count[0] += 1.0
                    total[0] += score
        tally.valid[0][0] += scored
        tally.valid[1][0] += valid
        pairs, repeats = self._repetition.count(profile.name, label, items)
        if pairs:
            self._metrics.repeats(profile.name, label, pairs, repeats)

    def _tally(self, profile: Profile, run: str) -> _Tally:
        found = self._tallies.get((profile.name, run))
        if found is None or found[0] is not profile:
            made = _Tally(self._metrics, profile, run)
            found = self._tallies[profile.name, run] = (profile, made)
        return found[1]
