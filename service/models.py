"""The served models, by name and by what a profile asks for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from service.batcher import Hosted
from service.errors import BadRequest, Conflict, NotFound, StartupFault, nearest
from worldmodels.core import ModelSpec, canonical_context


class ServedModels:
    """All models of one process. Names are unique.

    Raises:
        StartupFault: two models have one name.
    """

    def __init__(self, hosted: Sequence[Hosted]):
        self._by_name: dict[str, Hosted] = {}
        for one in hosted:
            if one.name in self._by_name:
                raise StartupFault(
                    f"two models are named {one.name!r}; give one another name under [[models]]"
                )
            self._by_name[one.name] = one
        self._routes: dict[tuple[str, str, str], Hosted | None] = {}

    def __iter__(self) -> Iterator[Hosted]:
        return iter(self._by_name.values())

    def __len__(self) -> int:
        return len(self._by_name)

    def named(self, name: str) -> Hosted:
        """The model of that name.

        Raises:
            NotFound: there is none; lists the nearest.
        """
        found = self._by_name.get(name)
        if found is None:
            raise NotFound(f"unknown model {name!r}{nearest(name, self._by_name)}", field="model")
        return found

    def offering(self, name: str, relation: str) -> Hosted:
        """The named model, if it offers the relation.

        Raises:
            NotFound: no such model. BadRequest: it does not offer the relation.
        """
        model = self.named(name)
        if relation not in model.spec.relations:
            raise BadRequest(
                f"model {name!r} does not offer relation {relation!r}; it offers "
                f"{', '.join(model.spec.relations)}",
                field="relation",
            )
        return model

    def candidates(self, selector: str, relation: str) -> list[Hosted]:
        """Models that fit a selector and offer the relation."""
        return [model for model in self.fitting(selector) if relation in model.spec.relations]

    def specs(self, selector: str, relation: str) -> list[ModelSpec]:
        """What the candidates declare of themselves."""
        return [model.spec for model in self.candidates(selector, relation)]

    def fitting(self, selector: str) -> list[Hosted]:
        """Models that fit a selector: a name, ``family:NAME`` or ``*``."""
        family = selector.removeprefix("family:") if selector.startswith("family:") else None
        return [
            model
            for model in self
            if selector == "*"
            or (model.spec.family == family if family else model.name == selector)
        ]

    def route(self, selector: str, relation: str, context: str) -> Hosted | None:
        """The one model that answers; None if those that fit were built for other contexts.

        A single candidate answers whatever the context (and may say OUT_OF_DISTRIBUTION itself). Of
        several those that list the context go first, then those that look at none, then those that
        pool.

        Raises:
            Conflict: several fit and nothing says which.
        """
        key = (selector, relation, context)
        if key in self._routes:
            return self._routes[key]
        fit = self.candidates(selector, relation)
        if len(fit) > 1:
            wanted = canonical_context(context)
            exact = [model for model in fit if wanted in model.spec.contexts]
            blind = [model for model in fit if not model.spec.contexts]
            fit = exact or blind or [model for model in fit if model.spec.pools]
        if len(fit) > 1:
            raise Conflict(
                f"models {', '.join(model.name for model in fit)} all answer {relation!r} in "
                f"context {context!r}; name one for the profile under [profiles.models]"
            )
        if len(self._routes) > 10_000:  # contexts come from requests: do not let them pile up
            self._routes.clear()
        return self._routes.setdefault(key, fit[0] if fit else None)
