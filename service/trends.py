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
        self._answers: dict[str, Numbers] = {}
        self.valid = metrics.component_counters(*self._names, "valid", "form")
        self.parts = [
            metrics.component_counters(
                *self._names, part.judge.name, "form" if part.judge.textual else "truth"
            )
            for part in profile.composition.parts
        ]

    def answer(self, answer: str) -> None:
        try:
            self._answers[answer][0] += 1.0
        except KeyError:
            self._counter(answer)[0] += 1.0

    def _counter(self, answer: str) -> Numbers:
        if len(self._answers) < MOST_ANSWERS and _LABEL.fullmatch(answer):
            made = self._answers[answer] = self._metrics.answer_counter(*self._names, answer)
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
        scored = [result for result in results if result.reward is not None]
        valid = 0
        for result in scored:
            if result.status == "ok":
                valid += 1
                if result.answer is not None:
                    tally.answer(result.answer)
        tally.valid[0][0] += len(scored)
        tally.valid[1][0] += valid
        for i, (count, total) in enumerate(tally.parts):
            scores = [s for one in scored if (s := one.components[i].score) is not None]
            count[0] += len(scores)
            total[0] += sum(scores)
        pairs, repeats = self._repetition.count(profile.name, label, items)
        if pairs:
            self._metrics.repeats(profile.name, label, pairs, repeats)

    def _tally(self, profile: Profile, run: str) -> _Tally:
        found = self._tallies.get((profile.name, run))
        if found is None or found[0] is not profile:
            made = _Tally(self._metrics, profile, run)
            found = self._tallies[profile.name, run] = (profile, made)
        return found[1]
