"""The rows a model was trained on, in its folder, so that a card can tell evidence from memory.

Of any family whose rows are pairs of genes in a context: sorted integer keys of (context,
perturbation, readout) by relation in ``training.safetensors`` (``keys_de`` of ``perturbation.de``),
the names that the keys count in ``genes.json`` and ``contexts.json``. Labels are not kept. Limits:
identity only, so data that were trained on under another gene name are found by resolving both
sides, and data of another experiment on the same pair count as seen.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from worldmodels import checkpoints, spellings
from worldmodels.checkpoints import Checkpoint
from worldmodels.core import ModelFault, canonical_context
from worldmodels.genes import GeneResolver, Vocabulary

KEYS: Final = "training.safetensors"
GENES: Final = "genes.json"
CONTEXTS: Final = "contexts.json"
_PREFIX: Final = "keys_"

Codes = NDArray[np.integer]
Keys = NDArray[np.int64]


class Coded(NamedTuple):
    """Rows of one relation, in columns of shape (n,): codes into lists of names."""

    contexts: Codes
    perturbations: Codes
    readouts: Codes


def contents(
    genes: Sequence[str], contexts: Sequence[str], rows: Mapping[str, Coded]
) -> tuple[dict[str, dict[str, NDArray[Any]]], dict[str, str]]:
    """The ``tensors`` and ``texts`` to hand to ``checkpoints.write`` beside the model's own.

    Args:
        genes: what the codes of perturbations and readouts count.
        contexts: what the codes of contexts count, canonical; ``""`` for rows of no context.
        rows: relation → its training rows.
    """
    keys = {
        _name(relation): np.unique(_keys(*coded, len(genes))) for relation, coded in rows.items()
    }
    return {KEYS: keys}, {
        GENES: json.dumps(list(genes)),
        CONTEXTS: json.dumps(list(contexts)),
    }


def encode(
    rows: Mapping[str, tuple[Sequence[str], Sequence[str], Sequence[str]]],
) -> tuple[list[str], list[str], dict[str, Coded]]:
    """What ``contents`` takes, from names: relation → (contexts, perturbations, readouts)."""
    genes = sorted({name for _, a, b in rows.values() for column in (a, b) for name in column})
    contexts = sorted({canonical_context(name) for of, _, _ in rows.values() for name in of})
    gene, context = ({name: i for i, name in enumerate(names)} for names in (genes, contexts))
    coded = {
        relation: Coded(
            np.array([context[canonical_context(name)] for name in of], np.int64),
            np.array([gene[name] for name in a], np.int64),
            np.array([gene[name] for name in b], np.int64),
        )
        for relation, (of, a, b) in rows.items()
    }
    return genes, contexts, coded


@dataclass(frozen=True, slots=True)
class TrainedRows:
    """The training rows of one model, to hold other rows against."""

    keys: Mapping[str, Keys]
    """Relation → sorted keys."""
    genes: tuple[str, ...]
    contexts: tuple[str, ...]
    vocabulary: Vocabulary

    def __len__(self) -> int:
        return sum(map(len, self.keys.values()))

    def overlap(
        self,
        contexts: Sequence[str],
        perturbations: Sequence[str],
        readouts: Sequence[str],
        relation: str | None = None,
    ) -> NDArray[np.bool_]:
        """Whether each row was trained on; columns of shape (n,), names in any spelling.

        A row without a context is held against every context, and every row against training rows
        that have none.

        Args:
            contexts: cell lines, ``""`` where there is none.
            perturbations: perturbed genes.
            readouts: measured genes.
            relation: only rows of this relation; None: of any, since a direction of change tells
                that there was a change.
        """
        a, b = self.vocabulary.codes(perturbations), self.vocabulary.codes(readouts)
        line = np.array([canonical_context(name) for name in contexts], object)
        known = (a >= 0) & (b >= 0)
        held = [keys for name, keys in self.keys.items() if relation in (None, name)]
        seen = np.zeros(len(a), np.bool_)
        for code, name in enumerate(self.contexts):
            rows = np.flatnonzero(known & ((line == name) | (line == "") | (name == "")))
            asked = _keys(np.full(len(rows), code), a[rows], b[rows], len(self.genes))
            for keys in held:
                seen[rows] |= _within(keys, asked)
        return seen

    def perturbations(self, context: str) -> set[str]:
        """Perturbed genes of the training rows of a context (``""``: of all), as they are stored.

        Rows without a context belong to every context.
        """
        asked = canonical_context(context)
        found: set[str] = set()
        for keys in self.keys.values():
            line, gene = np.divmod(keys // len(self.genes), len(self.genes))
            for code, name in enumerate(self.contexts):
                if asked in ("", name) or name == "":
                    found.update(self.genes[i] for i in np.unique(gene[line == code]))
        return found


def read(folder: Path | Checkpoint, genes: GeneResolver | None = None) -> TrainedRows | None:
    """The training rows that a checkpoint keeps; None if it keeps none.

    Args:
        folder: a checkpoint's folder, or the checkpoint where it is open already.
        genes: resolves the names of both sides; without it they are compared as they are.

    Raises:
        ModelFault: no checkpoint, or a damaged one.
    """
    checkpoint = folder if isinstance(folder, Checkpoint) else checkpoints.read(folder)
    if KEYS not in checkpoint.manifest.files:
        return None
    names, contexts = checkpoint.names(GENES), checkpoint.names(CONTEXTS)
    keys = checkpoint.mapped(KEYS)
    for name, array in keys.items():
        _check(checkpoint.path / KEYS, name, array, len(contexts) * len(names) ** 2)
    return TrainedRows(
        {_relation(name): array for name, array in keys.items()},
        tuple(names),
        tuple(contexts),
        spellings.vocabulary(checkpoint, names, genes or GeneResolver.as_they_are()),
    )


def _name(relation: str) -> str:
    family, _, kind = relation.partition(".")
    return _PREFIX + (kind if family == "perturbation" else relation)


def _relation(name: str) -> str:
    kind = name.removeprefix(_PREFIX)
    return kind if "." in kind else f"perturbation.{kind}"


def _keys(context: Codes, a: Codes, b: Codes, genes: int) -> Keys:
    return np.asarray((context.astype(np.int64) * genes + a) * genes + b, np.int64)


def _within(keys: Keys, asked: Keys) -> NDArray[np.bool_]:
    if not len(keys):
        return np.zeros(len(asked), np.bool_)
    at = np.minimum(np.searchsorted(keys, asked), len(keys) - 1)
    return np.asarray(keys[at] == asked, np.bool_)


def _check(path: Path, name: str, keys: NDArray[Any], end: int) -> None:
    if not name.startswith(_PREFIX) or keys.dtype != np.int64 or keys.ndim != 1:
        raise ModelFault(f"{path}: {name!r} is no column of keys; build the model anew")
    if len(keys) and ((np.diff(keys) <= 0).any() or keys[0] < 0 or keys[-1] >= end):
        raise ModelFault(f"{path}: {name!r} is not sorted or leaves its genes; build it anew")
