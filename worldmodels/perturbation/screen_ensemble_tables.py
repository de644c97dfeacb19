"""Ensembles as two files of a checkpoint: ``nets.safetensors`` and ``trees.safetensors``.

Arrays are named ``relation.group.number.part`` in the one, ``relation.group.part`` in the other.
Both are memory-mapped when they are read. Whether their shapes fit is ``screen_checks``' to say.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from worldmodels.checkpoints import Checkpoint
from worldmodels.perturbation.screen_checks import array
from worldmodels.perturbation.screen_ensemble import Ensemble
from worldmodels.perturbation.screen_fitted import Relation
from worldmodels.perturbation.screen_nets import Net
from worldmodels.perturbation.screen_trees import Trees

NETS: Final = "nets.safetensors"
TREES: Final = "trees.safetensors"
_PARTS: Final[Mapping[str, type[Any]]] = {
    "base": np.float32,
    "feature": np.int32,
    "threshold": np.float32,
    "leaf": np.float32,
}
"""Of trees."""


def written(relations: Mapping[str, Relation]) -> dict[str, dict[str, NDArray[Any]]]:
    """The arrays of both files."""
    nets: dict[str, NDArray[Any]] = {}
    trees: dict[str, NDArray[Any]] = {}
    for relation, of in relations.items():
        for group, ensemble in enumerate(of.ensembles):
            start = f"{relation}.{group}"
            for number, net in enumerate(ensemble.nets):
                nets |= _of_net(f"{start}.{number}", net)
            trees |= {f"{start}.{part}": getattr(ensemble.trees, part) for part in _PARTS}
    return {NETS: nets, TREES: trees}


def read(
    checkpoint: Checkpoint, nets: Mapping[str, tuple[Sequence[int], int]]
) -> dict[str, tuple[Ensemble, ...]]:
    """Ensembles by relation.

    Args:
        checkpoint: the folder.
        nets: by relation the number of nets in each group, and how many layers a net has.

    Raises:
        ModelFault: an array is missing or of another kind.
    """
    files = {name: checkpoint.mapped(name) for name in (NETS, TREES)}
    return {
        relation: tuple(
            _ensemble(checkpoint.path, files, f"{relation}.{group}", count, layers)
            for group, count in enumerate(counts)
        )
        for relation, (counts, layers) in nets.items()
    }


def _of_net(start: str, net: Net) -> dict[str, NDArray[Any]]:
    found = {f"{start}.shift": net.shift, f"{start}.scale": net.scale}
    for layer, (weights, bias) in enumerate(net.layers):
        found |= {f"{start}.weights{layer}": weights, f"{start}.bias{layer}": bias}
    return found


def _ensemble(
    path: Path, files: Mapping[str, Mapping[str, NDArray[Any]]], start: str, count: int, layers: int
) -> Ensemble:
    def table(name: str) -> NDArray[Any]:
        return array(path / NETS, files[NETS], f"{start}.{name}", np.float32)

    def net(number: int) -> Net:
        each = [(table(f"{number}.weights{i}"), table(f"{number}.bias{i}")) for i in range(layers)]
        return Net(table(f"{number}.shift"), table(f"{number}.scale"), tuple(each))

    where, trees = path / TREES, files[TREES]
    parts = {name: array(where, trees, f"{start}.{name}", kind) for name, kind in _PARTS.items()}
    return Ensemble(tuple(net(number) for number in range(count)), Trees(**parts))
