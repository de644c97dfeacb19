"""Ontologies (GO, Cell Ontology, MONDO, …) as directed acyclic graphs, and what they say of genes.

Terms point to their parents (``is_a``, and ``part_of`` where asked for). Plain Python data, read
from files by ``ontology_files.load``. A text names a term by its id, an other id (``alt_id``, or
the id of an obsolete term with one replacement), its name, or an EXACT synonym that is its alone;
letter case and runs of blanks do not count, and nothing else is folded: a text that could mean two
terms names none.

Information (``Ontology.information``): bits that a term adds to its parents, after Clark &
Radivojac 2013 (Bioinformatics 29:i53): ia(t) = −log2 P(t | all parents of t), here with the rule
of succession, P = (n(t) + 1)/(n(parents) + 2), where n counts the genes annotated with a term or a
descendant. Smoothing keeps every term above 0 bits, so that an unannotated term is never free.
Without annotations each term counts as annotated once, with itself: structural information, as in
Seco, Veale & Hayes 2004 (ECAI). Roots have 0 bits.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from math import log2
from typing import Final, Literal, NamedTuple

from worldmodels.core import ModelFault

Scope = Literal["exact", "narrow", "broad", "related"]
"""How a synonym relates to its term (OBO): a narrow synonym means less than the term."""

ASPECTS: Final[Mapping[str, str]] = {
    "C": "cellular_component",
    "F": "molecular_function",
    "P": "biological_process",
}
"""GO's aspects, as annotation files abbreviate them, and the namespaces of their terms."""
_SCOPES: Final[tuple[Scope, ...]] = ("exact", "narrow", "broad", "related")
_AMBIGUOUS: Final = ""
_BLOCK: Final = 8192  # genes counted at once: bounds the memory of ``information``


class Synonym(NamedTuple):
    """Another name of a term."""

    text: str
    scope: Scope = "exact"


@dataclass(frozen=True, slots=True)
class Term:
    """One term that is in use."""

    id: str
    name: str
    parents: tuple[str, ...] = ()
    namespace: str = ""
    synonyms: tuple[Synonym, ...] = ()


class Counts(NamedTuple):
    """How many genes have each term, descendants included, and what a term says."""

    genes: Mapping[str, int]
    information: Mapping[str, float]
    """Bits."""


def folded(text: str) -> str:
    """A name as it is compared: NFC, lower case, one blank for each run of blanks."""
    if not text.isascii():
        text = unicodedata.normalize("NFC", text)
    return " ".join(word for word in text.lower().replace("\t", " ").split(" ") if word).strip()


class Ontology:
    """Terms, their names and their ancestors. Immutable once built, safe to share."""

    def __init__(
        self,
        terms: Mapping[str, Term],
        digest: str,
        other_ids: Mapping[str, str] | None = None,
        version: str | None = None,
    ) -> None:
        """Build from terms by id.

        Args:
            terms: the terms in use.
            digest: ``sha256:…`` of where they come from, relations included.
            other_ids: ids that stand for a term: ``alt_id``, replaced obsolete terms.
            version: the release, as the file states it (``releases/2026-01-23``).

        Raises:
            ModelFault: a parent that is no term, or a circle of parents.
        """
        self.terms = terms
        self.digest = digest
        self.version = version
        self.order = tuple(in_order(terms))
        """Ids, parents before children."""
        inner = {parent for term in terms.values() for parent in term.parents}
        self.roots = frozenset(i for i, term in terms.items() if not term.parents and i in inner)
        """Terms without parents that have children. They say nothing."""
        self._ids = {folded(i): i for i in terms}
        for other, term_id in (other_ids or {}).items():
            if term_id in terms:
                self._ids.setdefault(folded(other), term_id)
        self._names = _unique((term.name, i) for i, term in terms.items())
        self._synonyms = _unique(
            (synonym.text, i)
            for i, term in terms.items()
            for synonym in term.synonyms
            if synonym.scope == "exact"
        )
        self._ancestors: dict[str, frozenset[str]] = {}
        self._counted: dict[str, Counts] = {}

    def resolve(self, text: str) -> str | None:
        """The id of the one term that a text names; None if it names none or could name two."""
        key = folded(text)
        found = self._ids.get(key)
        if found is None:
            found = self._names.get(key)
        if found is None:
            found = self._synonyms.get(key)
        return found or None

    def exactness(self, text: str, term_id: str) -> Scope | None:
        """How a text names a given term: ``exact`` by what resolves to it, else by a synonym.

        A text that names another term is no synonym of this one, whatever its scope.

        Raises:
            KeyError: no such term.
        """
        term = self.terms[term_id]
        named = self.resolve(text)
        if named is not None:
            return "exact" if named == term_id else None
        key = folded(text)
        scopes = {synonym.scope for synonym in term.synonyms if folded(synonym.text) == key}
        scopes.discard("exact")  # it does not resolve, so it could mean another term as well
        return next((scope for scope in _SCOPES if scope in scopes), None)

    def ancestors(self, term_id: str) -> frozenset[str]:
        """Every term above a term, roots included, itself not.

        Raises:
            KeyError: no such term.
        """
        known = self._ancestors.get(term_id)
        if known is None:
            above: set[str] = set()
            left = list(self.terms[term_id].parents)
            while left:
                parent = left.pop()
                if parent not in above:
                    above.add(parent)
                    left.extend(self.terms[parent].parents)
            known = self._ancestors[term_id] = frozenset(above)
        return known

    def propagated(self, term_ids: Iterable[str]) -> frozenset[str]:
        """Terms with all their ancestors, roots left out (true path rule).

        Raises:
            KeyError: no such term.
        """
        found = set(term_ids)
        for term_id in tuple(found):
            found |= self.ancestors(term_id)
        return frozenset(found - self.roots)

    def information(self, annotations: Annotations | None = None) -> Mapping[str, float]:
        """Bits of every term beyond its parents; see the module."""
        return self.counts(annotations).information

    def counts(self, annotations: Annotations | None = None) -> Counts:
        """How common every term is. Computed once for each table."""
        key = annotations.digest if annotations else ""
        if key not in self._counted:
            if annotations is None:
                rows: list[Iterable[str]] = [(term_id,) for term_id in self.order]
            else:
                rows = list(annotations.terms_of.values())
            self._counted[key] = _count(self, rows)
        return self._counted[key]


class Annotations:
    """Which terms a gene is annotated with, directly."""

    def __init__(
        self,
        terms_of: Mapping[str, frozenset[str]],
        digest: str,
        names: Mapping[str, str] | None = None,
        left_out: int = 0,
    ) -> None:
        """Build from a table.

        Args:
            terms_of: gene (as the file names it: symbol, accession) → ids of terms in use.
            digest: ``sha256:…`` of where it comes from.
            names: another name (an accession) → the gene in ``terms_of``.
            left_out: annotations whose term the ontology does not have.
        """
        self.terms_of = terms_of
        self.digest = digest
        self.names = names or {}
        self.left_out = left_out

    def of(self, gene: str) -> frozenset[str] | None:
        """The terms of a gene under any of its names here; None where there are none."""
        found = self.terms_of.get(gene)
        return self.terms_of.get(self.names.get(gene, "")) if found is None else found


def _unique(named: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Folded name → id; ``_AMBIGUOUS`` where several terms bear it."""
    found: dict[str, str] = {}
    for text, term_id in named:
        key = folded(text)
        if key and found.setdefault(key, term_id) != term_id:
            found[key] = _AMBIGUOUS
    return found


def in_order(terms: Mapping[str, Term]) -> Iterator[str]:
    """Ids with parents before children (Kahn 1962).

    Raises:
        ModelFault: a parent that is no term, or a circle of parents.
    """
    waiting = {term_id: len(set(term.parents)) for term_id, term in terms.items()}
    children: dict[str, list[str]] = {}
    for term_id, term in terms.items():
        for parent in set(term.parents):
            if parent not in terms:
                raise ModelFault(
                    f"term {term_id}: its parent {parent} is no term of this ontology; the file is "
                    "cut off, or of several files that belong together one is missing"
                )
            children.setdefault(parent, []).append(term_id)
    ready = [term_id for term_id, count in waiting.items() if not count]
    for term_id in ready:
        yield term_id
        for child in children.get(term_id, ()):
            waiting[child] -= 1
            if not waiting[child]:
                ready.append(child)
    if len(ready) < len(terms):
        raise ModelFault(
            f"terms go in a circle: {' → '.join(_circle(terms, set(ready)))}; an ontology has no "
            "circles, so take one of these parents out"
        )


def _circle(terms: Mapping[str, Term], sound: set[str]) -> list[str]:
    """One circle among the terms that are not ``sound``."""
    at = next(term_id for term_id in terms if term_id not in sound)
    path: list[str] = []
    while at not in path:
        path.append(at)
        at = next(parent for parent in terms[at].parents if parent not in sound)
    return [*path[path.index(at) :], at]


def _count(ontology: Ontology, rows: list[Iterable[str]]) -> Counts:
    """Counts and information accretion from rows of annotated terms."""
    terms, order = ontology.terms, ontology.order
    own = dict.fromkeys(order, 0)
    above = dict.fromkeys(order, 0)
    for start in range(0, len(rows), _BLOCK):
        bits = dict.fromkeys(order, 0)  # for each term the genes that have it, one bit a gene
        for place, row in enumerate(rows[start : start + _BLOCK]):
            for term_id in row:
                bits[term_id] |= 1 << place
        for term_id in reversed(order):
            if bits[term_id]:
                for parent in terms[term_id].parents:
                    bits[parent] |= bits[term_id]
        for term_id, genes in bits.items():
            own[term_id] += genes.bit_count()
            shared = -1
            for parent in terms[term_id].parents:
                shared &= bits[parent]
            if shared > 0:
                above[term_id] += shared.bit_count()
    bits_of = {
        term_id: log2((above[term_id] + 2) / (own[term_id] + 1)) if terms[term_id].parents else 0.0
        for term_id in order
    }
    return Counts(own, bits_of)
