"""Ontologies (GO, Cell Ontology, MONDO, …) as directed acyclic graphs, and what they say of genes.

Terms point to their parents (``is_a``, and ``part_of`` where asked for). Plain Python data: a term
is looked up by its id, its name, or a synonym that is unique.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Term:
    """One term."""

    id: str
    name: str
    parents: tuple[str, ...] = ()
    namespace: str = ""


class Ontology:
    """Terms and their ancestors. Immutable once built, safe to share between threads."""

    def __init__(self, terms: Mapping[str, Term], digest: str) -> None:
        self.terms = terms
        self.digest = digest


class Annotations:
    """Which terms a gene is annotated with."""

    def __init__(self, terms_of: Mapping[str, frozenset[str]], digest: str) -> None:
        self.terms_of = terms_of
        self.digest = digest
