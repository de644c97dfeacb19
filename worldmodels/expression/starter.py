"""The model of the first minute: co-expression in blood cells, from data that scanpy carries.

``scanpy.datasets.pbmc68k_reduced()`` lies in the scanpy package itself (700 cells, 765 genes), so a
fresh machine builds a real model without a download. ``python -m worldmodels.expression.starter
OUT`` builds it in a process of its own, since scanpy and what it imports are no load for a server.
Limits: 700 cells of one donor, chosen and preprocessed for a tutorial; the model shows how things
work and is nothing to train on.
"""

from __future__ import annotations

import sys
import warnings
from pathlib import Path
from typing import Final

from worldmodels.checkpoints import Checkpoint
from worldmodels.core import ModelFault
from worldmodels.expression.coexpression_training import Recipe, Report, silent, train
from worldmodels.expression.detections import Choice

NAME: Final = "starter"
TRAINING: Final = (
    "PBMC 68k of 10x Genomics (fresh 68k PBMCs, donor A; Zheng et al. 2017, Nature Communications "
    "8:14049), reduced, as scanpy.datasets.pbmc68k_reduced carries it"
)
LICENCE: Final = (
    "the file is part of scanpy (BSD-3-Clause); scanpy states no separate licence for the data, "
    "whose source is 10xgenomics.com/datasets/fresh-68-k-pbm-cs-donor-a-1-standard-1-1-0"
)


def build(out: Path, report: Report = silent, *, force: bool = False) -> Checkpoint:
    """Build the starter.

    Args:
        out: folder to write.
        report: told of progress and notes.
        force: replace a checkpoint that is there.

    Raises:
        ModelFault: scanpy is not installed, or the folder cannot be written.
    """
    report("loading scanpy", 0.0)
    with warnings.catch_warnings():
        # scanpy and what it imports announce future changes of their own; none concerns the data
        warnings.simplefilter("ignore")
        try:
            import scanpy
        except ModuleNotFoundError as error:
            raise ModelFault(
                f"the starter model is built from data that scanpy carries, and {error.name!r} is "
                "not installed; pip install scanpy"
            ) from error
        data = scanpy.datasets.pbmc68k_reduced()
    recipe = Recipe(name=NAME, training=TRAINING, licence=LICENCE, choice=Choice(raw=True))
    return train(data, out, recipe, report, force=force)


def main(arguments: list[str]) -> int:
    """``python -m worldmodels.expression.starter OUT [--force]``; 0, or 2 and why on stderr."""
    out, *options = arguments or [""]
    if not out or options not in ([], ["--force"]):
        print("usage: python -m worldmodels.expression.starter OUT [--force]", file=sys.stderr)
        return 2
    try:
        checkpoint = build(Path(out), force=bool(options))
    except ModelFault as fault:
        print(fault, file=sys.stderr)
        return 2
    print(f"{checkpoint.path} {checkpoint.digest}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
