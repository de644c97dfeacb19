"""From a trained pair network to the folder that ``pair_mlp`` serves.

The first layer is applied to every gene once (H₁, H₂), the perturbation-blind baseline p₀ is
computed for every readout and cell line, and both are stored with the vocabulary. Limits: the
vectors themselves are not stored, so a folder cannot be trained further.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from worldmodels import checkpoints, training_rows
from worldmodels.calibration import sigmoid
from worldmodels.checkpoints import Checkpoint, Manifest
from worldmodels.core import quantise
from worldmodels.embeddings import Embeddings
from worldmodels.genes import GeneResolver, Vocabulary
from worldmodels.perturbation.pair_mlp import FAMILY, VOCABULARY, WEIGHTS
from worldmodels.perturbation.pair_mlp_training import Fitted, Settings
from worldmodels.perturbation.tables import EffectTable

Array = NDArray[np.float32]
CHUNK: Final = 16
"""Readouts worked on at a time: with all perturbations they make one block of memory."""


def baselines(fitted: Fitted, vectors: Array, contexts: tuple[str, ...]) -> NDArray[np.float64]:
    """p₀: mean p over the training perturbations of each context, for every gene as readout.

    Returns:
        Shape (max(len(contexts), 1), genes).
    """
    h1, h2 = fitted.network.halves(vectors)
    w, bias = fitted.network.w2, fitted.network.b2
    trained = fitted.train
    lines = np.array(fitted.pairs.contexts)
    found = np.empty((max(len(contexts), 1), len(vectors)))
    for row in range(len(found)):
        of_line = trained & (lines == contexts[row]) if contexts else trained
        subjects = h1[np.unique(fitted.pairs.a[of_line])]
        for start in range(0, len(vectors), CHUNK):
            hidden = np.maximum(subjects[:, None] + h2[None, start : start + CHUNK], 0)
            p = fitted.calibrator.apply(sigmoid(hidden @ w + bias))
            found[row, start : start + CHUNK] = p.mean(axis=0)
    return np.asarray(quantise(found), np.float64)


def save(
    folder: Path,
    fitted: Fitted,
    vectors: Embeddings,
    table: EffectTable,
    genes: GeneResolver,
    manifest: Manifest,
    *,
    force: bool = False,
) -> Checkpoint:
    """Write the factorised network; ``manifest`` gives name, version, relation, licence.

    The vocabulary holds the vectors' names and the tables' own spellings of them, so that outdated
    names work where no gene table is served.
    """
    vocabulary = Vocabulary(vectors.names, range(len(vectors.names)), genes)
    spelt = dict.fromkeys((*vectors.names, *table.perturbations, *table.readouts))
    names = [name for name in spelt if vocabulary.codes([name])[0] >= 0]
    h1, h2 = fitted.network.halves(vectors.vectors)
    arrays: dict[str, NDArray[Any]] = {
        "h1": h1,
        "h2": h2,
        "w": fitted.network.w2,
        "bias": np.array([fitted.network.b2], np.float32),
        "p0": baselines(fitted, vectors.vectors, manifest.contexts),
        "rows": vocabulary.codes(names),
    }
    seen, told = _seen(fitted, vectors.names, manifest.relations[0])
    return checkpoints.write(
        folder,
        manifest,
        tensors={WEIGHTS: arrays, **seen},
        texts={VOCABULARY: json.dumps(names, ensure_ascii=True), **told},
        force=force,
    )


def _seen(
    fitted: Fitted, names: list[str], relation: str
) -> tuple[dict[str, dict[str, NDArray[Any]]], dict[str, str]]:
    """The rows that decided anything, of all folds: a card must not be made of them."""
    pairs = fitted.pairs
    columns = pairs.contexts, [names[i] for i in pairs.a], [names[i] for i in pairs.b]
    return training_rows.contents(*training_rows.encode({relation: columns}))


def describe(
    fitted: Fitted,
    settings: Settings,
    *,
    name: str,
    version: str,
    relation: str,
    training: str,
    licence: str,
    any_cell_line: bool,
) -> Manifest:
    """The manifest of a trained network."""
    contexts = () if any_cell_line else tuple(sorted(set(fitted.pairs.contexts)))
    return Manifest(
        name=name,
        family=FAMILY,
        version=version,
        relations=(relation,),
        contexts=contexts,
        licence=licence,
        training=training,
        calibration={**fitted.calibrator.to_dict(), **fitted.judged.to_dict()},
        metrics=fitted.figures,
        options={
            "seed": settings.seed,
            "hidden": settings.hidden,
            "epochs": settings.epochs,
            "batch_size": settings.batch_size,
            "patience": settings.patience,
            "balanced": settings.balanced,
            "learning_rate": settings.learning_rate,
            "weight_decay": settings.weight_decay,
            "dropout": settings.dropout,
        },
    )
