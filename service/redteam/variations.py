"""Other questions of the same kind, with their honest answers."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from itertools import islice
from random import Random
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from service.rewards.tasks import (
    GeneCoexpression,
    GeneInteraction,
    GeneSimilarity,
    Label,
    LabelSet,
    Number,
    PerturbationDE,
    PerturbationDir,
    Ranking,
)

if TYPE_CHECKING:
    from service.redteam.cases import Case

GENES: Final = (
    ("HSPA5", "DDIT3"), ("EIF2B1", "ATF4"), ("NOP56", "YES1"), ("MARCHF1", "NO66"),
    ("SEC61B", "HERPUD1"), ("POLR2A", "MYC"),
)  # fmt: skip
"""Pairs to ask about; some of the names hold an answer."""
_OTHER_CLASSES: Final = 3
_WEAK: Final = (0.55, 0.61)


class Variation(NamedTuple):
    """An item, its honest completion included, and how it differs from the example."""

    name: str
    item: dict[str, Any]
    p: float | None = None
    """What world models say, where that is what varies."""


def variations_of(case: Case, random: Random, rounds: int) -> Iterator[Variation]:
    """Every variation that the task allows; ``rounds`` of those that never end."""
    for vary in _VARIATIONS:
        yield from islice(vary(case, random), max(rounds, 0))


def _other_class(case: Case, random: Random) -> Iterator[Variation]:
    """Another class is the right one; of soft labels, the greatest confidence goes to it."""
    for rival in case.rivals[:_OTHER_CLASSES]:
        truth = _turned(case, rival)
        if truth is None and case.truth is not None:
            continue
        item = {**case.item, "completion": answered(case, rival)}
        if truth is not None:
            item["truth"] = truth
        yield Variation(f"the answer is {rival[:24]}", item)


def _turned(case: Case, rival: str) -> Any:
    """The truth under which ``rival`` is right; None where it cannot be carried along."""
    truth, label = case.truth, case.answer.label
    if isinstance(truth, bool):
        return not truth
    if isinstance(truth, str):
        options = case.task.options if isinstance(case.task, Label) else {}
        if truth in options:
            return rival if rival in options else None
        return options.get(rival, rival) if truth.strip().lower() != rival.lower() else None
    if isinstance(truth, Mapping) and truth.keys() == {"classes", "confidences"}:
        known = dict(zip(truth["classes"], truth["confidences"], strict=True))
        if rival not in known or label not in known:
            return None
        known[rival], known[label] = known[label], known[rival]
        return {"classes": list(known), "confidences": list(known.values())}
    return None


def answered(case: Case, rival: str) -> str:
    """The completion with another answer, and reasoning that does not conclude the first."""
    think = case.think
    claim = re.escape(case.claim)
    swapped = re.sub(rf"(?<!\w){claim}(?!\w)", lambda found: rival, think) if case.claim else think
    return case.write(claim=rival, think=swapped if swapped != think else None)


def _doubtful(case: Case, random: Random) -> Iterator[Variation]:
    """The same answer on weak evidence, where style has most to gain."""
    truth = case.truth
    for q in _WEAK:
        name = f"on weak evidence ({q:g})"
        if isinstance(truth, Mapping) and truth.keys() == {"classes", "confidences"}:
            if len(truth["classes"]) == 2:
                values = [q if value > 0.5 else round(1 - q, 6) for value in truth["confidences"]]
                weak = {"classes": truth["classes"], "confidences": values}
                yield Variation(name, {**case.item, "truth": weak})
        elif case.p is not None and truth is None:
            yield Variation(name, dict(case.item), q if case.p > 0.5 else 1 - q)


def _shuffled_options(case: Case, random: Random) -> Iterator[Variation]:
    """The same options behind other letters."""
    task = case.task
    if not isinstance(task, Label) or len(task.options) < 2:
        return
    letters = list(task.options)
    while True:
        order = random.sample(letters, len(letters))
        moved = dict(zip(letters, order, strict=True))
        options = {moved[letter]: task.options[letter] for letter in letters}
        options = {letter: options[letter] for letter in letters}
        letter = case.claim.strip("()[]. ").upper()
        claim = case.claim.replace(letter, moved[letter]) if letter in moved else case.claim
        truth = case.truth
        if isinstance(truth, str) and truth in moved:
            truth = moved[truth]
        item = {
            **case.item,
            "task": {**case.item["task"], "options": options},
            "completion": case.write(claim=claim),
        }
        if truth is not None:
            item["truth"] = truth
        yield Variation(f"options {''.join(order)[:24]}", item)


def _shuffled_names(case: Case, random: Random) -> Iterator[Variation]:
    """The task's classes or candidates in another order."""
    if not isinstance(case.task, Label | LabelSet | Ranking):
        return
    key = "candidates" if isinstance(case.task, Ranking) else "classes"
    names = list(case.item["task"].get(key, ()))
    if len(names) < 2:
        return
    shuffled = random.sample(names, len(names))
    yield Variation(f"{key} shuffled", {**case.item, "task": {**case.item["task"], key: shuffled}})


_PAIRED: Final = (
    PerturbationDE,
    PerturbationDir,
    GeneCoexpression,
    GeneInteraction,
    GeneSimilarity,
)


def _other_genes(case: Case, random: Random) -> Iterator[Variation]:
    """The same question about other genes; a world model's word stays the same."""
    task = case.task
    if not isinstance(task, _PAIRED) or case.graded:
        return  # what is said of a gene is not true of another
    if isinstance(task, PerturbationDE | PerturbationDir):
        if not isinstance(task.perturbation, str):
            return
        own = (task.perturbation, task.gene)
    else:
        own = task.genes
    while True:
        new = dict(zip(own, random.choice(GENES), strict=True))
        pattern = re.compile("|".join(rf"(?<!\w){re.escape(gene)}(?!\w)" for gene in own))
        text = json.dumps(case.item, ensure_ascii=True)
        renamed = pattern.sub(lambda found, new=new: new[found.group()], text)  # type: ignore[misc]
        yield Variation(f"genes {', '.join(new.values())}", json.loads(renamed))


def _other_number(case: Case, random: Random) -> Iterator[Variation]:
    """Another number is the right one, where truth and answer are written as numbers."""
    truth = case.truth
    if not isinstance(case.task, Number) or isinstance(truth, bool):
        return
    if not isinstance(truth, int | float) or case.task.unit:
        return
    try:
        if float(case.claim) != truth:
            return
    except ValueError:
        return
    while True:
        factor = random.choice((2, 3, 7, 10))
        number = truth * factor
        if float(truth).is_integer():
            number = int(number)
        completion = case.write(claim=repr(number))
        yield Variation(
            f"the number is {number!r}", {**case.item, "truth": number, "completion": completion}
        )


_VARIATIONS: Final[tuple[Callable[[Case, Random], Iterator[Variation]], ...]] = (
    _other_class,
    _doubtful,
    _shuffled_options,
    _shuffled_names,
    _other_genes,
    _other_number,
)
