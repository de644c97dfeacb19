"""Candidates in order, best first, against their true relevance.

    andcg     AssayBench's adjusted, condensed nDCG@k (Genentech, AssayBench 0.1, its metric page):
              the first k names; those that were not assayed are taken out, and nobody moves up
              from beyond k; DCG = Σ yᵢ / log₂(i + 1) over the rest, nDCG = DCG / the best DCG that
              non-negative relevance allows; with E the mean of nDCG over all orders of the assayed
              candidates, (nDCG − E) / (1 − E), at least 0. A random order earns 0 in the mean and
              the best one 1, on easy screens and hard ones alike. nDCG itself is Järvelin and
              Kekäläinen, ACM TOIS 20, 2002; every place has the mean relevance in the mean, so
              E = ȳ·Σ_{i ≤ min(k, n)} 1/log₂(i + 1) / best.
              Departure: E is at least 0. Where the mean relevance is negative it is not, and then
              an answer that names nothing of the screen would earn (0 − E)/(1 − E) > 0.
    hits      share of the relevant ones among the first k: relevance above 0, of an ordered truth
              its first k; over the most that k places can hold.
    spearman  (1 + ρ)/2 with Spearman's ρ over the assayed candidates; those that the answer leaves
              out are tied behind the others. 0.5 in the mean for a random order.

Truth: {candidate: relevance}, where a candidate without relevance was not assayed; or candidates in
true order, where the first has the greatest relevance, each further one the same amount less, and
those not listed 0. A truth under which every order earns the same is BAD_TRUTH, as is one of more
than ``MAX_CANDIDATES``.

Names compare without letter case; with ``names = "genes"`` as genes, so that AARS is AARS1 on both
sides (a name that is no gene's alone stands for itself). A task without ``candidates`` takes any
name: what the truth does not have was not assayed. A candidate that stands twice in an answer,
under whatever name, is MALFORMED; names beyond the k-th count for nothing, so that spraying
candidates earns no more.
"""

from __future__ import annotations

import functools
import heapq
import math
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Final, Literal, NamedTuple

import msgspec

from service.rewards.core import Answer, Component, Item, Reason, Verdict
from service.rewards.forms import Form, normal
from service.rewards.grades import Step, check_step, stepped
from service.rewards.library import Library
from service.rewards.tasks import Ranking
from service.rewards.verifiers.judge import Fault, Judge
from worldmodels.core import Status

MAX_CANDIDATES: Final = 30_000
"""A genome-wide screen has about 20,000."""


_SCREENS: Final = 8
"""Truths that are remembered: genome-wide ones take 5 MB each."""


class RankingOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The keys of a ``ranking`` component."""

    measure: Literal["andcg", "hits", "spearman"] = "andcg"
    k: Annotated[int, msgspec.Meta(ge=1, le=1000)] | None = None
    """Places that count, where the task does not say; None: all of them."""
    names: Literal["plain", "genes"] = "plain"
    """Whether names are those of genes, to be resolved to current symbols."""
    step: Step = 0.0
    """Scores are rounded down to its multiples; 0: not at all."""


class Screen(NamedTuple):
    """What is known of the candidates, and what of it every answer needs."""

    known: Mapping[str, float]
    """Relevance of each assayed candidate."""
    k: int
    """Places that count."""
    best: tuple[float, ...]
    """Relevances above 0, the greatest ``k`` of them, falling."""
    ideal: float
    """DCG of the best order."""
    chance: float
    """E, the mean nDCG over all orders, at least 0."""

    def andcg(self, said: list[str]) -> float:
        """Adjusted nDCG of the first k names, in [0, 1]; see the module."""
        if self.chance >= 1.0:  # by rounding only, of relevances that hardly differ
            return 0.0
        gains = [self.known[name] for name in said[: self.k] if name in self.known]
        reached = _dcg(gains) / self.ideal
        return min(max((reached - self.chance) / (1.0 - self.chance), 0.0), 1.0)

    def hits(self, said: list[str]) -> float:
        """Share of the k best, or of all relevant ones, among the first k names."""
        found = sum([self.known.get(name, 0.0) >= self.best[-1] for name in said[: self.k]])
        return min(found / len(self.best), 1.0)


class RankingJudge(Judge):
    """How well an order agrees with the true relevance, in [0, 1]."""

    Options = RankingOptions
    tasks = ("ranking",)
    truth = "hard"

    def __init__(self, name: str, weight: float, options: RankingOptions, library: Library):
        super().__init__(name, weight, options, library)
        self.options = options
        check_step(options.step)
        self.gap = options.step
        self.states = "label"
        self.plain = _plain
        if options.names == "genes":
            resolve = library.genes.resolve

            @functools.lru_cache(maxsize=65_536)
            def gene(name: str) -> str:
                symbol, status = resolve(name.strip())
                return symbol.lower() if status is Status.OK else _plain(name)

            self.plain = gene
        self._screen = functools.lru_cache(maxsize=_SCREENS)(self._screen_of)

    def fault(self, item: Item, form: Form) -> Fault | None:
        """BAD_TRUTH for a truth that ranks nothing, or not the task's candidates."""
        task = item.task
        if item.truth is None or not isinstance(task, Ranking):
            return None
        screen = self._read(item.truth, task)
        return (Reason.BAD_TRUTH, screen) if isinstance(screen, str) else None

    def score(self, item: Item, answer: Answer, verdicts: tuple[Verdict, ...]) -> Component:
        """What the order earns."""
        task, names = item.task, answer.value
        if item.truth is None:
            return self.missing(Reason.NO_TRUTH)
        assert isinstance(task, Ranking)  # fault and the form let nothing else through
        assert isinstance(names, tuple)
        screen = self._read(item.truth, task)
        assert isinstance(screen, Screen)
        said = [self.plain(name[:1000]) for name in names]
        if len(set(said)) < len(said):
            return self.missing(Reason.MALFORMED)
        if self.options.measure == "andcg":
            earned = screen.andcg(said)
        elif self.options.measure == "hits":
            earned = screen.hits(said)
        else:
            earned = (1.0 + spearman(said, screen.known)) / 2.0
        return Component(self.name, stepped(earned, self.options.step), self.weight)

    def _read(self, truth: object, task: Ranking) -> Screen | str:
        """The truth as it is compared, or what is wrong with it; once for a group of answers."""
        candidates = tuple(task.candidates)
        if isinstance(truth, list | dict) and len(truth) <= MAX_CANDIDATES:
            kinds = set(map(type, truth.values() if isinstance(truth, dict) else truth))
            if isinstance(truth, dict) and kinds <= {int, float}:
                return self._screen(tuple(truth), tuple(truth.values()), candidates, task.k)
            if isinstance(truth, list) and kinds <= {str}:
                return self._screen(tuple(truth), None, candidates, task.k)
        found = relevances(truth, set(), self.plain)
        assert isinstance(found, str)  # it is none of the two forms
        return found

    def _screen_of(
        self,
        names: tuple[str, ...],
        values: tuple[float, ...] | None,
        candidates: tuple[str, ...],
        k: int | None,
    ) -> Screen | str:
        """By names and their relevance, or by names in order."""
        given = list(names) if values is None else dict(zip(names, values, strict=True))
        known = relevances(given, set(map(self.plain, candidates)), self.plain)
        if isinstance(known, str):
            return known
        k = k or self.options.k or len(candidates) or len(known)
        return _pointless(known, self.options.measure, k) or screen_of(known, k)


def relevances(
    truth: object, candidates: set[str], plain: Callable[[str], str]
) -> dict[str, float] | str:
    """Relevance of each assayed candidate, or what is wrong with the truth.

    Args:
        truth: as the item carries it.
        candidates: those of the task, as ``plain`` writes them; empty allows any.
        plain: one spelling for each candidate.
    """
    if isinstance(truth, list | dict) and len(truth) > MAX_CANDIDATES:
        return f"truth: {len(truth)} candidates; at most {MAX_CANDIDATES} can be ranked"
    if isinstance(truth, list):
        for index, name in enumerate(truth):
            if not isinstance(name, str):
                return f"truth[{index}]: expected a name, got {name!r:.80}"
        ordered = [plain(name) for name in truth]
        if len(set(ordered)) < len(ordered):
            return "truth: a candidate stands twice"
        given = dict.fromkeys(candidates, 0.0)
        given |= {name: 1.0 - at / len(ordered) for at, name in enumerate(ordered)}
    elif isinstance(truth, dict):
        for name, value in truth.items():
            if isinstance(value, bool) or not isinstance(value, int | float):
                return f"truth[{name!r:.80}]: expected a number, got {value!r:.80}"
            if not -1e9 <= value <= 1e9:
                return f"truth[{name!r:.80}]: {value!r:.80} is not between -1e9 and 1e9"
        given = dict(zip(map(plain, truth), map(float, truth.values()), strict=True))
        if len(given) < len(truth):
            return "truth: a candidate stands twice"
    else:
        return f"truth: expected relevances by candidate or candidates in order, got {truth!r:.80}"
    strange = next((name for name in given if name not in candidates), None)
    if candidates and strange is not None:
        return f"truth: {strange!r:.80} is none of task.candidates"
    return given or "truth: empty"


def _pointless(known: dict[str, float], measure: str, k: int) -> str | None:
    """Why every order would earn the same, where it would."""
    values = set(known.values())
    if len(values) < 2:
        return "truth: all candidates are equally relevant, so that every order earns the same"
    if measure != "spearman" and max(values) <= 0:
        return "truth: no candidate has a relevance above 0, so that nothing can be earned"
    if measure == "hits" and k >= len(known):
        return f"task.k: {k} places hold every candidate, so that every order earns the same"
    return None


def screen_of(known: Mapping[str, float], k: int) -> Screen:
    """What answers of k places are held against."""
    best = tuple(value for value in heapq.nlargest(k, known.values()) if value > 0)
    ideal = _dcg(best)
    mean = math.fsum(known.values()) / len(known)
    chance = mean * _discounts(min(k, len(known))) / ideal if best else 0.0
    return Screen(known, k, best, ideal, max(0.0, chance))


def _dcg(gains: Sequence[float]) -> float:
    return math.fsum([gain / math.log2(at + 2) for at, gain in enumerate(gains)])


@functools.lru_cache(maxsize=1024)
def _discounts(places: int) -> float:
    return math.fsum([1.0 / math.log2(at + 2) for at in range(places)])


def spearman(said: list[str], known: Mapping[str, float]) -> float:
    """Spearman's ρ over the assayed candidates, ties at their mean rank; 0 for ties alone."""
    names = list(known)
    place = {name: float(-at) for at, name in enumerate(said)}
    behind = -float(len(said))
    one = _ranks([place.get(name, behind) for name in names])
    other = _ranks([known[name] for name in names])
    middle = (len(names) - 1) / 2.0
    one = [rank - middle for rank in one]
    other = [rank - middle for rank in other]
    spread = math.fsum([a * a for a in one]) * math.fsum([b * b for b in other])
    if spread == 0.0:
        return 0.0
    rho = math.fsum([a * b for a, b in zip(one, other, strict=True)]) / math.sqrt(spread)
    return min(max(rho, -1.0), 1.0)


def _ranks(values: list[float]) -> list[float]:
    """Ranks from 0, the mean rank for ties."""
    order = sorted(range(len(values)), key=values.__getitem__)
    ranks = [0.0] * len(values)
    at = 0
    while at < len(order):
        end = at
        while end < len(order) and values[order[end]] == values[order[at]]:
            end += 1
        for index in order[at:end]:
            ranks[index] = (at + end - 1) / 2.0
        at = end
    return ranks


def _plain(name: str) -> str:
    return normal(name if name.isascii() else unicodedata.normalize("NFC", name))
