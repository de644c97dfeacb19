"""What judges may look up: gene names, and the ontologies and annotations that the server loaded.

Profiles name knowledge (``knowledge = "go"``); which file that is, is the server's configuration
(``[knowledge.go]``). A profile whose knowledge is not there is not served, and says what to set.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from service.rewards.errors import nearest
from worldmodels.genes import GeneResolver
from worldmodels.ontology import Annotations, Ontology

_USUAL: Final = {
    "go": "an ontology (go-basic.obo) and annotations (goa_human.gaf)",
    "mondo": "an ontology (mondo.obo)",
    "cl": "an ontology (cl-basic.obo)",
}
"""The files that the knowledge of the shipped profiles usually comes from."""


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

    @property
    def digest(self) -> str:
        """``sha256:…`` over all that can change a reward: terms, relations, annotations."""
        parts = (self.ontology.digest, self.annotations.digest if self.annotations else "none")
        return "sha256:" + hashlib.sha256(" ".join(parts).encode()).hexdigest()

    @property
    def version(self) -> str | None:
        """The ontology's release, where its file states one."""
        return self.ontology.version


@dataclass(frozen=True, slots=True)
class Library:
    """Immutable, and safe to share between threads."""

    genes: GeneResolver = field(default_factory=GeneResolver)
    knowledge: Mapping[str, Knowledge] = field(default_factory=dict)


def lacks_of(name: str | None, library: Library, *, annotated: bool = False) -> tuple[str, ...]:
    """What must be configured before something can be looked up, with what to do.

    Args:
        name: of the knowledge; None where nothing is looked up.
        library: what the server has.
        annotated: whether the ontology alone is not enough.
    """
    if name is None:
        return ()
    found = library.knowledge.get(name)
    if found is None:
        plainly = "an ontology (OBO)" + (" and annotations (GAF)" if annotated else "")
        hint = nearest(name, library.knowledge) if library.knowledge else ""
        return (
            f"knowledge {name!r}: set [knowledge.{name}] with {_USUAL.get(name, plainly)} in the "
            f"server's configuration{hint}",
        )
    if annotated and found.annotations is None:
        return (f"annotations of {name!r}: add annotations (GAF) to [knowledge.{name}]",)
    return ()


def distinct(lacks: Iterable[str]) -> tuple[str, ...]:
    """One text for each thing that is lacking, the one that says most."""
    said: dict[str, str] = {}
    for lack in lacks:
        what = lack.partition(":")[0]
        said[what] = max(said.get(what, ""), lack, key=len)
    return tuple(said.values())
