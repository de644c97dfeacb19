"""How far a set of answered names holds against the true set: plain, and along an ontology.

Plain, with A the answer and T the truth: precision |A∩T|/|A|, recall |A∩T|/|T|, F1 their harmonic
mean, Jaccard |A∩T|/|A∪T|.

Along an ontology a term asserts itself and its ancestors (true path rule), each weighing its
information (``Ontology.information``), roots nothing; the truth asserts T⁺, T with all ancestors:

    claimed   bits of A⁺, A with all ancestors
    right     bits of R⁺, where R are the answered terms that lie in T⁺
    precision = right/claimed, recall = right/bits of T⁺

after the weighted precision and recall of Clark & Radivojac 2013 (Bioinformatics 29:i53), which
CAFA uses. The departure is R: there, a wrong term earns the ancestors it shares with the truth,
so that spraying siblings raises recall (an unrelated term .18, three generic ones .84 in public
code). Here a wrong term asserts nothing that is right; who knows the ancestor only may answer the
ancestor. Hence the theorem that tests check: adding a term outside T⁺ never raises any measure, as
it leaves ``right`` as it is and can only raise ``claimed``. A name that is no term claims as many
bits as the most informative term.

What is paid is what an answer reaches beyond the naive guess, which names the commonest terms
whatever the gene (CAFA's baseline "Naive"): with b the best that the k commonest terms of the
truth's namespaces reach, k ≤ ``COMMON``, score = max(0, (f − b)/(1 − b)). It keeps the theorem.

F_max (Radivojac et al. 2013, Nature Methods 10:221, for one item) is the best F1 over all
thresholds on the scores that the answer states.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import zip_longest
from typing import Final, Literal, NamedTuple

from worldmodels.ontology import Ontology

COMMON: Final = 50
Measure = Literal["precision", "recall", "f1", "jaccard", "f_max"]


class Overlap(NamedTuple):
    """Sizes, or bits, of an answer, of the truth and of what is right."""

    right: float
    claimed: float
    true: float

    def measure(self, name: Measure) -> float:
        """The figure of that name, in [0, 1]; 0 where nothing was claimed."""
        if self.right <= 0.0:
            return 0.0
        if name == "precision":
            return min(self.right / self.claimed, 1.0)
        if name == "recall":
            return min(self.right / self.true, 1.0)
        if name == "jaccard":
            return min(self.right / (self.claimed + self.true - self.right), 1.0)
        return min(2.0 * self.right / (self.claimed + self.true), 1.0)


class Propagation(NamedTuple):
    """An ontology and how much each term says."""

    ontology: Ontology
    information: Mapping[str, float]
    stranger: float
    """Bits that a name outside the ontology claims."""
    common: Mapping[str, tuple[str, ...]]
    """The commonest terms of each namespace, commonest first."""

    def overlap(self, answered: Iterable[str | None], true: Iterable[str]) -> Overlap:
        """Bits of both sets and of what is right.

        Args:
            answered: ids, None for each name that is no term.
            true: ids.
        """
        return next(self.growing([answered], true))

    def growing(
        self, groups: Iterable[Iterable[str | None]], true: Iterable[str]
    ) -> Iterator[Overlap]:
        """The overlaps of an answer that grows by one group of names after the other.

        Args:
            groups: ids, None for each name that is no term.
            true: ids.
        """
        truth = self.ontology.propagated(true)
        whole = self.bits(truth)
        claimed: set[str] = set()
        right: set[str] = set()
        claimed_bits = right_bits = 0.0
        for group in groups:
            names = list(group)
            terms = {term for term in names if term is not None}
            more = self.ontology.propagated(terms) - claimed
            more_right = self.ontology.propagated(terms & truth) - right
            claimed |= more
            right |= more_right
            claimed_bits += self.bits(more) + names.count(None) * self.stranger
            right_bits += self.bits(more_right)
            yield Overlap(right_bits, claimed_bits, whole)

    def naive(self, true: frozenset[str], measure: Measure) -> float:
        """The best that the commonest terms of the truth's namespaces reach, whatever the gene."""
        spaces = sorted({self.ontology.terms[term].namespace for term in true})
        groups = zip_longest(*(self.common.get(space, ()) for space in spaces))
        guesses = ([term for term in group if term is not None] for group in groups)
        return max([one.measure(measure) for one in self.growing(guesses, true)], default=0.0)

    def bits(self, terms: Iterable[str]) -> float:
        """Information of a set that holds its ancestors. The order of summation is fixed."""
        return sum(sorted([self.information[term] for term in terms]))


def commonest(ontology: Ontology, genes: Mapping[str, int]) -> dict[str, tuple[str, ...]]:
    """The ``COMMON`` commonest terms of each namespace, roots left out; ties by id."""
    found: dict[str, list[str]] = {}
    for term_id in sorted(genes, key=lambda term: (-genes[term], term)):
        mine = found.setdefault(ontology.terms[term_id].namespace, [])
        if len(mine) < COMMON and term_id not in ontology.roots:
            mine.append(term_id)
    return {space: tuple(terms) for space, terms in found.items()}


def plain(answered: Iterable[str], true: Iterable[str]) -> Overlap:
    """Sizes of two sets and of what they share."""
    return next(plainly_growing([answered], true))


def plainly_growing(groups: Iterable[Iterable[str]], true: Iterable[str]) -> Iterator[Overlap]:
    """The same of an answer that grows by one group of names after the other."""
    wanted = set(true)
    said: set[str] = set()
    for group in groups:
        said.update(group)
        yield Overlap(len(said & wanted), len(said), len(wanted))
