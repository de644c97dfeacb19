"""What judges that look something up have in common: one named ontology of the library."""

from __future__ import annotations

from service.rewards.library import Knowledge, Library


def knowledge_of(name: str | None, library: Library) -> Knowledge | None:
    """The knowledge that a profile names; None where it names none or the server has none."""
    return None if name is None else library.knowledge.get(name)


def lacks_of(name: str | None, library: Library, *, annotated: bool = False) -> tuple[str, ...]:
    """What must be configured before a judge can look up, with what to do.

    Args:
        name: of the knowledge; None where the judge looks nothing up.
        library: what the server has.
        annotated: whether the ontology alone is not enough.
    """
    if name is None:
        return ()
    found = library.knowledge.get(name)
    if found is None:
        what = " and annotations (GAF)" if annotated else ""
        return (
            f"knowledge {name!r}: set [knowledge.{name}] with an ontology (OBO){what} in the "
            "server's configuration",
        )
    if annotated and found.annotations is None:
        return (f"annotations of {name!r}: add annotations (GAF) to [knowledge.{name}]",)
    return ()
