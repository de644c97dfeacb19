"""Records added up by curve and step, in one pass and in memory that does not grow with the log.

A curve is what is drawn: one run, one recipe (name and digest), one split. Of each of its steps a
``Step`` keeps sums. Items of a group (a prompt's completions, what a group-normalised trainer
learns from) are held until ``HELD`` newer items are, then added up.

An item that another request had scored before (equal id, group and completion, in the same step)
is a retry and counts once, with the last reward that is a number; items of one request are never
taken for each other. Items without an id cannot be told apart and all count. Limits: retries and
groups that come back later than that count anew.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from service.alignment.records import SHOWN, Record
from service.alignment.statistics import GroupSums, group_sums
from service.alignment.truths import Labels, Outcome

HELD: Final = 131_072
"""Items held at a time, about 1 kB each."""


class CurveKey(NamedTuple):
    """What a curve is of; "" where the log does not say."""

    run: str
    profile: str
    profile_digest: str
    split: str


class Held(NamedTuple):
    """One item of an open group."""

    status: str
    reward: float | None
    answer: str | None
    outcome: Outcome | None
    request: str | None


@dataclass(slots=True)
class Step:
    """Sums over the items of one step of one curve."""

    statuses: Counter[str] = field(default_factory=Counter)
    reward_sum: float = 0.0
    rewarded: int = 0
    answers: Counter[str] = field(default_factory=Counter)
    outcomes: Counter[Outcome] = field(default_factory=Counter)
    """True and answered class of the items that have a label and an answer."""
    judged: Counter[tuple[bool, bool]] = field(default_factory=Counter)
    """Of those with a reward: (answer is right, reward is above the threshold)."""
    groups: GroupSums = field(default_factory=GroupSums)


@dataclass(slots=True)
class Tally:
    """All curves.

    Attributes:
        labels: the truth of items, if it is one of items.
        threshold: a reward above it says "right" (Youden's J).
        keep_repeats: count every line, whatever looks like a retry.
    """

    labels: Labels | None = None
    threshold: float = 0.5
    keep_repeats: bool = False
    curves: dict[CurveKey, dict[int, Step]] = field(default_factory=dict)
    ranges: dict[tuple[str, str], tuple[float, float]] = field(default_factory=dict)
    """(profile, digest) → its least and greatest reward."""
    records: int = 0
    repeated: int = 0
    stepless: int = 0
    """Records without a step, which are in no curve."""
    stepless_examples: list[str] = field(default_factory=list)
    _held: int = 0
    _open: OrderedDict[tuple[CurveKey, int, str], dict[object, Held]] = field(
        default_factory=OrderedDict
    )

    def add(self, records: Iterable[Record]) -> None:
        """Add records, and close all groups at the end."""
        for record in records:
            self._add(record)
        while self._open:
            self._close()

    def _add(self, record: Record) -> None:
        self.records += 1
        if record.step is None:
            self.stepless += 1
            if len(self.stepless_examples) < SHOWN:
                self.stepless_examples.append(f"id {record.id!r}, run {record.run or ''!r}")
            return
        key = CurveKey(
            record.run or "", record.profile or "", record.profile_digest or "", record.split or ""
        )
        outcome = None if self.labels is None else self.labels.outcome(record)
        held = Held(record.status, record.reward, record.answer, outcome, record.request)
        if record.id is None and record.group is None:
            self._count(key, self._step(key, record.step), (held,))
            return
        name = f"i{record.id}" if record.group is None else f"g{record.group}"
        group = self._open.setdefault((key, record.step, name), {})
        self._hold(group, record, held)
        while self._held > HELD:
            self._close()

    def _hold(self, group: dict[object, Held], record: Record, held: Held) -> None:
        """Put an item into its group, in the place of an earlier one that it repeats."""
        mark: object = (record.id, record.completion_digest)
        if record.id is None or record.request is None or self.keep_repeats:
            mark = len(group)
        earlier = group.get(mark)
        if earlier is None or earlier.request == record.request:
            group[mark if earlier is None else (len(group), mark)] = held
            self._held += 1
        else:
            self.repeated += 1
            if held.reward is not None or earlier.reward is None:
                group[mark] = held

    def _close(self) -> None:
        """Add up the group that was opened first."""
        where, group = self._open.popitem(last=False)
        held = tuple(group.values())
        self._held -= len(held)
        step = self._step(where[0], where[1])
        self._count(where[0], step, held)
        if where[2].startswith("g"):
            rewarded = [one for one in held if one.reward is not None]
            rewards = [one.reward for one in rewarded if one.reward is not None]
            right = [None if one.outcome is None else _right(one.outcome) for one in rewarded]
            step.groups.add(group_sums(rewards, right))

    def _step(self, key: CurveKey, number: int) -> Step:
        steps = self.curves.get(key)
        if steps is None:
            steps = self.curves[key] = {}
        step = steps.get(number)
        if step is None:
            step = steps[number] = Step()
        return step

    def _count(self, key: CurveKey, step: Step, items: Iterable[Held]) -> None:
        for item in items:
            step.statuses[item.status] += 1
            if item.answer is not None and item.status != "invalid":
                step.answers[item.answer] += 1
            if item.outcome is not None:
                step.outcomes[item.outcome] += 1
            reward = item.reward
            if reward is None:
                continue
            step.rewarded += 1
            step.reward_sum += reward
            least, greatest = self.ranges.get(key[1:3], (reward, reward))
            if not least <= reward <= greatest or least == greatest:
                self.ranges[key[1:3]] = (min(least, reward), max(greatest, reward))
            if item.outcome is not None:
                step.judged[_right(item.outcome), reward > self.threshold] += 1


def _right(outcome: Outcome) -> bool:
    true, said = outcome
    return true == said
