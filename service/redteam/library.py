"""What profiles may look up while they are attacked: the specimens that ship with the rewards."""

from __future__ import annotations

from service.rewards.library import Library


def library() -> Library:
    """Small ontologies and annotations under the names that shipped profiles use."""
    try:
        from service.rewards.specimens import specimen_library
    except ModuleNotFoundError:
        return Library()
    found: Library = specimen_library()
    return found
