"""From a family's name to the code that loads it.

The table holds strings and nothing is imported until a family is asked for. Other distributions
add families through the entry-point group ``soft_verifier.worldmodels``; a name that exists twice
is an error.
"""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib.metadata import entry_points
from pathlib import Path
from typing import Final

from worldmodels import checkpoints
from worldmodels.core import ModelFault, WorldModel
from worldmodels.genes import GeneResolver

FAMILIES: Final[Mapping[str, str]] = {
    "fake": "worldmodels.fake:load",
    "pair-mlp": "worldmodels.perturbation.pair_mlp:load",
    "screen": "worldmodels.perturbation.screen:load",
    "measured": "worldmodels.perturbation.measured:load",
    "linear": "worldmodels.perturbation.linear:load",
    "coexpression": "worldmodels.expression.coexpression:load",
    "remote": "worldmodels.remote:load",
}
ENTRY_POINT_GROUP: Final = "soft_verifier.worldmodels"


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Where a model comes from: a checkpoint folder, or a family with options (fake, remote)."""

    family: str
    name: str
    path: Path | None = None
    device: str = "cpu"
    options: Mapping[str, str] = field(default_factory=dict)


Factory = Callable[[Source, GeneResolver], WorldModel]


def families() -> dict[str, str]:
    """All families by name, plugins included.

    Raises:
        ModelFault: two distributions claim one name.
    """
    table = dict(FAMILIES)
    for point in entry_points(group=ENTRY_POINT_GROUP):
        if point.name in table:
            raise ModelFault(
                f"world model family {point.name!r} is claimed twice: by {table[point.name]} and "
                f"by the plugin {point.value}; uninstall one of them"
            )
        table[point.name] = point.value
    return table


def factory(family: str) -> Factory:
    """The function that loads a family.

    Raises:
        ModelFault: unknown family (the message lists the names), or a missing extra.
    """
    table = families()
    if family not in table:
        near = difflib.get_close_matches(family, table, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise ModelFault(f"unknown family {family!r}{hint} Known: {', '.join(sorted(table))}")
    module, _, name = table[family].partition(":")
    try:
        made: Factory = getattr(importlib.import_module(module), name)
    except ModuleNotFoundError as error:
        raise ModelFault(
            f"family {family!r} needs {error.name!r}, which is not installed; "
            f"pip install {error.name}"
        ) from error
    return made


def load(source: Source, genes: GeneResolver) -> WorldModel:
    """Load one model and check that it says who it is."""
    model = factory(source.family)(source, genes)
    if not model.spec.relations:
        raise ModelFault(f"model {source.name!r} declares no relation")
    return model


def open_folder(
    path: str | Path, *, genes: GeneResolver, name: str | None = None, device: str = "cpu"
) -> WorldModel:
    """Load a trained folder; its manifest names the family, and the model unless ``name`` does.

    Raises:
        ModelFault: no checkpoint there, a damaged one, or one of an unknown family.
    """
    folder = Path(path)
    stated = checkpoints.read_manifest(folder)
    source = Source(family=stated.family, name=name or stated.name, path=folder, device=device)
    return load(source, genes)
