"""What judges may look up: gene names, and the ontologies and annotations that the server loaded.

Profiles name knowledge (``knowledge = "go"``); which file that is, is the server's configuration
(``[knowledge.go]``). A profile whose knowledge is not there is not served, and says what to set.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from worldmodels.genes import GeneResolver
from worldmodels.ontology import Annotations, Ontology


@dataclass(frozen=True, slots=True)
class Knowledge:
    """One ontology, with what it says of genes.

    Attributes:
        name: as ``[knowledge.NAME]``.
        ontology: terms, names, synonyms, ancestors.
        annotations: genes and their terms; None where none were given.
    """

    name: str
    ontology: Ontology
    annotations: Annotations | None = None


@dataclass(frozen=True, slots=True)
class Library:
    """Immutable, and safe to share between threads."""

    genes: GeneResolver = field(default_factory=GeneResolver)
    knowledge: Mapping[str, Knowledge] = field(default_factory=dict)
