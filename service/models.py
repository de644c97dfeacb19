"""The served models, by name and by what a profile asks for.

``NAME@sha256:…`` pins a version: the one that is served, one that was replaced a while ago and
still answers, or one that is about to be served.
"""

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
        self._beside: dict[Hosted, str] = {}
        """Versions that are not served but answer: `prepared` or `retiring`."""
        self._routes: dict[tuple[str, str, str], Hosted | None] = {}

    def __iter__(self) -> Iterator[Hosted]:
        return iter(self._by_name.values())

    def __len__(self) -> int:
        return len(self._by_name)

    def versions(self, name: str) -> list[Hosted]:
        """All versions of a model that answer: the one that is served first."""
        served = self._by_name.get(name)
        beside = [one for one in self._beside if one.name == name]
        return [served, *beside] if served is not None else []

    def beside(self, name: str, state: str) -> list[Hosted]:
        """Versions of a model that are ``prepared`` to be served, or ``retiring``."""
        return [one for one, its in self._beside.items() if one.name == name and its == state]

    @property
    def all(self) -> list[Hosted]:
        """Every model that runs, those that were replaced and those about to be served too."""
        return [*self._by_name.values(), *self._beside]

    def stand_by(self, hosted: Hosted) -> None:
        """Let a version be asked by its digest."""
        self._beside[hosted] = "prepared"
        self._routes.clear()

    def let_go(self, hosted: Hosted) -> None:
        """Ask a version that stood by no more."""
        del self._beside[hosted]
        self._routes.clear()

    def switch(self, hosted: Hosted) -> Hosted:
        """Serve a version that stood by; the one that was served till now, which stands by.

        What is in work goes on with the version that it began with.
        """
        before = self._by_name[hosted.name]
        self._by_name[hosted.name] = hosted
        del self._beside[hosted]
        self._beside[before] = "retiring"
        self._routes.clear()
        return before

    def named(self, name: str) -> Hosted:
        """The model of that name, possibly pinned.

        Raises:
            NotFound: there is none; lists the nearest. Conflict: the pinned version is not served.
        """
        found = self._by_name.get(name)
        if found is not None:
            return found
        bare, at, digest = name.partition("@")
        versions = self.versions(bare)
        for one in versions if at else ():
            if one.spec.digest == digest:
                return one
        if versions:
            raise Conflict(
                f"model {bare!r} is {versions[0].spec.digest} here, the request pins "
                f"{digest or 'nothing'}; update the pin or ask the server that has it",
                field="model",
            )
        raise NotFound(f"unknown model {bare!r}{nearest(bare, self._by_name)}", field="model")

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
        """Models that fit a selector: a name, possibly pinned, ``family:NAME`` or ``*``."""
        bare, at, digest = selector.partition("@")
        if at:
            return [one for one in self.versions(bare) if one.spec.digest == digest][:1]
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
