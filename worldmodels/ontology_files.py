"""An ontology with its annotations, from files (``ontology_terms``, ``ontology_annotations``)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from worldmodels.ontology import Annotations, Ontology
from worldmodels.ontology_annotations import read_annotations
from worldmodels.ontology_terms import read_ontology


def load(
    ontology: Path | str,
    annotations: Sequence[Path | str] = (),
    relations: Sequence[str] = ("is_a", "part_of"),
) -> tuple[Ontology, Annotations | None]:
    """An ontology, and what the annotation files together say of genes.

    Args:
        ontology: OBO or a table, see the module.
        annotations: GAF, tables or JSON; one gene in several files has the terms of all.
        relations: what makes a parent; tables know ``is_a`` only.

    Raises:
        ModelFault: a file cannot be read or is not what it should be; the message names file and
            line and what to do.
    """
    graph = read_ontology(Path(ontology), relations)
    if not annotations:
        return graph, None
    return graph, read_annotations([Path(path) for path in annotations], graph)
