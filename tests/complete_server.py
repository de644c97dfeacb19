"""A server with what every shipped profile needs: tiny real models, small real ontologies."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from servers import ServerProcess
from service.rewards.specimens import as_obo, as_table
from worldmodels import checkpoints
from worldmodels.checkpoints import Manifest
from worldmodels.genes import GeneResolver
from worldmodels.perturbation import measured, tables

GENES = ("AARS", "AARS1", "CALR", "CD3D", "CD3E")
YES = 0.9
"""What the gene-pair model says to every question."""

SETTINGS = """
[starter]
enabled = false
[profiles.models]
starter = "cells"
screen-de = "pairs"
screen-de-lift = "pairs"
screen-dir = "directions"
screen-dir-lift = "directions"
[knowledge.go]
ontology = "go.obo"
annotations = ["annotations.tsv"]
[knowledge.cl]
ontology = "cl.obo"
[knowledge.mondo]
ontology = "mondo.obo"
[[models]]
path = "pairs"
[[models]]
path = "directions"
[[models]]
path = "cells"
[[models]]
path = "effects"
"""


def complete_server(folder: Path, *options: str) -> ServerProcess:
    """The server, not started."""
    for name in ("go", "cl", "mondo"):
        (folder / f"{name}.obo").write_text(as_obo(name))
    (folder / "annotations.tsv").write_text(as_table())
    _pairs(folder / "pairs")
    _pairs(folder / "directions", "perturbation.dir")
    _cells(folder / "cells")
    _effects(folder)
    return ServerProcess(folder, SETTINGS, *options)


def _pairs(folder: Path, relation: str = "perturbation.de") -> None:
    """A gene-pair model that has learned its bias alone."""
    n = len(GENES)
    weights = {
        "h1": np.zeros((n, 2), "f4"),
        "h2": np.zeros((n, 2), "f4"),
        "w": np.zeros(2, "f4"),
        "bias": np.array([np.log(YES / (1 - YES))], "f4"),
        "p0": np.full((1, n), 0.4),
        "rows": np.arange(n, dtype="i4"),
    }
    manifest = Manifest(
        name=folder.name,
        family="pair-mlp",
        version="1",
        relations=(relation,),
        contexts=("k562",),
        licence="CC0-1.0",
        training="none: says yes to everything",
        calibration={"kind": "none"},
    )
    texts = {"vocabulary.json": json.dumps(GENES)}
    tensors = {"weights.safetensors": weights}
    checkpoints.write(folder, manifest, tensors=tensors, texts=texts, force=False)


def _cells(folder: Path) -> None:
    """Co-expression of cells of which one half expresses the genes of the examples together."""
    import anndata
    import pandas as pd

    from worldmodels.expression import coexpression_training

    draw = np.random.default_rng(0)
    names = [*GENES, *(f"G{i}" for i in range(60))]
    together = np.tile(draw.random((600, 1)) < 0.15, (1, len(GENES)))
    others = draw.random((600, 60)) < 0.5
    found = np.hstack([together, others]) * draw.integers(2, 9, (600, len(names)))
    cells = anndata.AnnData(
        found.astype(np.float32),
        obs=pd.DataFrame(index=[f"cell{i}" for i in range(600)]),
        var=pd.DataFrame(index=names),
    )
    recipe = coexpression_training.Recipe(name="cells", training="generated", licence="CC0-1.0")
    coexpression_training.train(cells, folder, recipe)


def _effects(folder: Path) -> None:
    """A measured table in which the examples' knockdowns have an effect."""
    table = folder / "effects.csv"
    rows = [f"{gene},CALR,k562,1" for gene in ("AARS", "AARS1")]
    table.write_text("\n".join(["pert,gene,cell_line,label", *rows, "AARS,CD3D,k562,0"]) + "\n")
    measured.build(
        folder / "effects",
        tables.read([table]),
        GeneResolver.as_they_are(),
        name="effects",
        version="1",
        relation="perturbation.de",
        licence="CC0-1.0",
    )
