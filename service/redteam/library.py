"""What profiles may look up while they are attacked: the specimens that ship with the rewards."""

from __future__ import annotations

from collections.abc import Mapping

from service.rewards.library import Knowledge, Library
from service.rewards.specimens import specimen_library


def library(more: Mapping[str, Knowledge] | None = None) -> Library:
    """Small ontologies and annotations under the names that shipped profiles use.

    Args:
        more: knowledge under other names. The specimens stand before it, because the examples of
            shipped profiles state what they earn under them.
    """
    specimens = specimen_library()
    return Library(specimens.genes, {**(more or {}), **specimens.knowledge})
