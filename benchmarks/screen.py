"""What `screen` is worth on perturbations that it never saw in a line: several splits, mean ± sd.

For every split a share of each line's perturbations is held out (drawn line by line, so that a
perturbation may be known from other lines, as in PerturbQA), the model is trained on the other rows
by the same code as ``soft-verifier train screen``, written, opened, and asked for p of the held-out
rows. Printed per line: PerturbQA's per-gene AUROC for DE and DIR, the same with perturbations
shuffled, ECE beside what rows as few would show of a p that is never wrong (labels drawn by p
itself), per-gene AUROC of the fifth of the rows with the largest |lift| (and how many
readouts that rests on), and what the training took.

    python benchmarks/screen.py --perturbqa perturbqa/ --graphs graphs/ --splits 3 [--within-line]

With ``--out FILE`` every split is appended as a line of JSON and splits that are there are not run
again, so that a long run may be broken off; the table is of all splits in the file. Start a new
file for other data, or when the method has changed.
"""

from __future__ import annotations

import argparse
import json
import resource
import tempfile
import time
from pathlib import Path

import numpy as np

from worldmodels import calibration, metrics
from worldmodels.core import Queries
from worldmodels.genes import GeneResolver
from worldmodels.graph import sources
from worldmodels.perturbation import screen_checkpoint, screen_tables, screen_training
from worldmodels.perturbation.screen import Screen
from worldmodels.perturbation.screen_rows import RELATIONS, Rows

COVERAGE = 0.2
SHUFFLES = 5
DRAWS = 20


def main() -> None:
    """Run the splits and print the table."""
    reader = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    reader.add_argument("--perturbqa", type=Path, required=True)
    reader.add_argument("--graphs", type=Path, required=True)
    reader.add_argument("--splits", type=int, default=3)
    reader.add_argument("--share", type=float, default=0.2, help="of perturbations held out")
    reader.add_argument("--within-line", action="store_true")
    reader.add_argument("--out", type=Path)
    given = reader.parse_args()
    found = sources.find(given.graphs)
    resolver = GeneResolver.from_files(found.gene_tables[:1])
    rows = screen_tables.read(given.perturbqa, resolver, None, print)
    done = _done(given.out)
    for seed in range(given.splits):
        key = {"seed": seed, "within": given.within_line, "share": given.share}
        if any(key.items() <= one.items() for one in done):
            continue
        one = _split(rows, found, resolver, seed, given.share, given.within_line)
        done.append(one)
        if given.out:
            with given.out.open("a") as file:
                file.write(json.dumps(one) + "\n")
    _show([one for one in done if one["within"] == given.within_line])


def _done(out: Path | None) -> list[dict]:
    return [json.loads(line) for line in out.open()] if out and out.is_file() else []


def held_out(rows: Rows, share: float, seed: int) -> np.ndarray:
    """Rows of a share of each line's perturbations."""
    rng = np.random.default_rng(1000 + seed)
    out = np.zeros(len(rows), bool)
    for line in range(len(rows.lines)):
        known = np.unique(rows.perturbation[rows.line == line])
        chosen = rng.permutation(known)[: round(share * len(known))]
        out |= (rows.line == line) & np.isin(rows.perturbation, chosen)
    return out


def _split(rows, found, resolver, seed: int, share: float, within: bool) -> dict:
    out = held_out(rows, share, seed)
    started, wall = time.process_time(), time.monotonic()
    fitted = screen_training.train(
        rows.take(~out),
        found,
        resolver,
        within_line=within,
        seed=0,
        say=lambda _: None,
        advance=lambda *_: None,
    )
    minutes = [(time.process_time() - started) / 60, (time.monotonic() - wall) / 60]
    with tempfile.TemporaryDirectory() as folder:
        made = screen_checkpoint.save(Path(folder) / "screen", fitted, name="screen", version="1")
        model = Screen(made, resolver, name="screen")
        figures = {
            f"{relation}.{line}": _figures(model, rows.take(out), relation, number)
            for relation in RELATIONS
            for number, line in enumerate(rows.lines)
        }
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    print(f"split {seed}: {minutes[0]:.1f} CPU min, {peak:.1f} GB", flush=True)
    for name, of in figures.items():
        print(" ", name, {k: round(v, 4) for k, v in of.items()}, flush=True)
    return {
        "seed": seed,
        "within": within,
        "share": share,
        "cpu_minutes": minutes[0],
        "minutes": minutes[1],
        "peak_gb": peak,
        "figures": figures,
    }


def _figures(model: Screen, rows: Rows, relation: str, line: int) -> dict[str, float]:
    inside = rows.line == line
    if relation == "perturbation.dir":
        inside &= rows.up >= 0
    part = rows.take(inside)
    labels = part.up if relation == "perturbation.dir" else part.de
    names = np.array(rows.genes)
    p, p0, answered = _ask(model, relation, rows.lines[line], names, part)
    readouts, labels = part.readout[answered], labels[answered].astype(int)
    lift = np.abs(calibration.logit(p) - calibration.logit(p0))
    top = lift >= np.quantile(lift, 1 - COVERAGE)
    kept = metrics.auroc_of_each(
        np.unique(readouts[top], return_inverse=True)[1], labels[top], p[top]
    )
    rng = np.random.default_rng(0)
    shuffled = []
    for _ in range(SHUFFLES):
        known = np.unique(part.perturbation)
        other = part.perturbation.copy()
        other[:] = rng.permutation(known)[np.searchsorted(known, part.perturbation)]
        mixed = Rows(part.lines, part.genes, part.line, other, part.readout, part.de, part.up)
        q, _, fine = _ask(model, relation, rows.lines[line], names, mixed)
        of = (part.up if relation == "perturbation.dir" else part.de)[fine].astype(int)
        shuffled.append(metrics.per_gene_auroc(part.readout[fine], of, q))
    return {
        "n": float(len(p)),
        "answered": float(np.mean(answered)),
        "auroc": metrics.per_gene_auroc(readouts, labels, p),
        "shuffled": float(np.mean(shuffled)),
        "blind": metrics.per_gene_auroc(readouts, labels, p0),
        "ece": calibration.ece(p, labels),
        "ece_drawn": float(
            np.mean([calibration.ece(p, rng.random(len(p)) < p) for _ in range(DRAWS)])
        ),
        "auroc_20": float(np.nanmean(kept)),
        "readouts_20": float(np.sum(~np.isnan(kept))),
    }


def _ask(model, relation, line, names, part):
    asked = Queries(
        relation,
        names[part.perturbation].tolist(),
        names[part.readout].tolist(),
        [line] * len(part),
    )
    found = model.predict(asked)
    fine = ~np.isnan(found.p)
    return found.p[fine], found.p0[fine], fine


def _show(done: list[dict]) -> None:
    print(f"\n{len(done)} splits; mean ± sd over splits")
    heads = ("per-gene AUROC", "shuffled", "ECE", "… drawn", "AUROC at 20 %")
    print(f"{'':24}{''.join(head.rjust(16) for head in heads)}")
    for name in done[0]["figures"]:
        cells = []
        for figure in ("auroc", "shuffled", "ece", "ece_drawn", "auroc_20"):
            each = [one["figures"][name][figure] for one in done]
            spread = np.std(each, ddof=int(len(each) > 1))
            cells.append(f"{np.mean(each):.3f} ± {spread:.3f}".rjust(16))
        print(f"{name:24}{''.join(cells)}")
    for what in ("cpu_minutes", "minutes", "peak_gb"):
        each = [one[what] for one in done]
        print(f"{what}: {np.mean(each):.1f} (most {max(each):.1f})")


if __name__ == "__main__":
    main()
