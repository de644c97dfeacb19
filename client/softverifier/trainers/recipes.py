"""What an adapter knows of its profile: name, digest, floor, neutral number, components' names.

Read once from ``GET /v1/profiles``, because several trainers demand the same keys for every sample
and an outage must not change them.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from softverifier.errors import RequestRejected, ServerUnavailable, UsageError

_PLAIN: Final = re.compile(r"[^0-9A-Za-z_]+")


@dataclass(frozen=True, slots=True)
class Recipe:
    """A profile's facts.

    Attributes:
        name: as served.
        digest: of what was served when the adapter first asked.
        version: of the profile.
        floor: what an invalid completion earns.
        neutral: what stands in for a reward that there is none of, the same for all who ask.
        components: their names, in order.
        task_type: the one type of task it judges, None if there are several or none.
        example: an item that works.
        figures: the keys under which an adapter reports, the same for every sample.
    """

    name: str
    digest: str
    version: str
    floor: float
    neutral: float
    components: tuple[str, ...]
    task_type: str | None
    example: Mapping[str, Any]
    figures: tuple[str, ...]


@functools.cache
def figure_of(component: str) -> str:
    """The component's name as a key that every logger takes: ``sv_perturbation_de``."""
    return "sv_" + _PLAIN.sub("_", component)


def recipe_named(profile: str, listed: Sequence[Mapping[str, Any]]) -> Recipe:
    """The profile's facts from the server's list.

    Args:
        profile: a name, or ``name@sha256:…``.
        listed: as ``GET /v1/profiles`` lists them.

    Raises:
        UsageError: it is not served, or its models are not, or its digest is another.
        ServerUnavailable: the list is not as the interface says.
    """
    name, _, pinned = profile.partition("@")
    found = next((one for one in listed if one.get("name") == name), None)
    if found is None:
        served = ", ".join(str(one.get("name")) for one in listed)
        raise UsageError(
            f"profile {name!r} is not served; there are {served} (SOFT_VERIFIER_PROFILE)"
        )
    if not found.get("available", True):
        raise UsageError(f"profile {name!r} cannot be used: {found.get('unavailable_because')}")
    try:
        recipe = found["recipe"]
        names = tuple(part["name"] for part in recipe["component"])
        types = found["task_types"]
        made = Recipe(
            name=name,
            digest=found["digest"],
            version=str(found["version"]),
            floor=float(recipe["compose"]["floor"]),
            neutral=float(found["neutral"]),
            components=names,
            task_type=types[0] if len(types) == 1 else None,
            example=found["example"]["items"][0],
            figures=("sv_valid", "sv_weight", *map(figure_of, names)),
        )
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise ServerUnavailable(f"profile {name!r} is not listed as expected: {error!r}") from error
    if pinned and pinned != made.digest:
        raise RequestRejected(
            f"profile {name!r} is pinned to {pinned}, but {made.digest} is served; pin the new "
            "one or serve the old",
            status=409,
            code="version_mismatch",
        )
    return made
