"""What judges that look something up have in common: one named ontology of the library.

Each component that rests on what was looked up says so: ``model`` is ``knowledge:NAME``,
``version`` the ontology's release and ``digest`` that of ontology, relations and annotations.
"""

from __future__ import annotations

from service.rewards.core import Component
from service.rewards.library import Knowledge, Library, lacks_of
from service.rewards.verifiers.judge import Judge


class LookingJudge(Judge):
    """A judge whose options name knowledge, or none.

    Attributes:
        known: what it looks things up in; None where it looks up nothing, or where that lacks.
    """

    known: Knowledge | None = None

    def look_up_in(self, name: str | None, library: Library, *, annotated: bool = False) -> None:
        """Set ``known``, and ``lacks`` where the server was not given it."""
        self.lacks = lacks_of(name, library, annotated=annotated)
        self.known = None if name is None else library.knowledge.get(name)
        self._source = None
        if self.known is not None:
            self._source = (f"knowledge:{name}", self.known.version, self.known.digest)

    _source: tuple[str, str | None, str] | None = None

    def told(self, component: Component) -> Component:
        """The same component with where its figure, or its silence, comes from."""
        if self._source is not None:
            component.model, component.version, component.digest = self._source
        return component
