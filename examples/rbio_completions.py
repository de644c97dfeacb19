"""Make completions in rbio's format from a table of gene pairs, to try a verifier on.

    python examples/rbio_completions.py k562-de.csv --n 10000 --cell-line k562 --out c.jsonl

The table is a CSV like PerturbQA's (columns pert, gene, label, split; rows of other splits than
train are left out). Each line is an item for the profile rbio-mlp: a task perturbation.de,
keywords, and a completion of about 150 words. The prose is filler that is put together at random:
it claims nothing that anyone measured, and its only purpose is the length and variety of real
completions. About 70 % of the answers agree with the table. Same seed, same file.
"""

from __future__ import annotations

import argparse
import csv
import json
import random
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

CORRECT: Final = 0.7
WORDS: Final = 150
OPENINGS: Final = (
    "The question is whether a knockdown of {p} in {c} cells changes the expression of {g}.",
    "To decide about {g}, think first about what a cell loses when {p} is knocked down.",
    "We are asked about {p} as the perturbed gene and {g} as the readout in {c} cells.",
    "Start from {p}: with less of it, some readouts move and most stay where they are.",
)
MIDDLES: Final = (
    "If {p} and {g} belonged to one pathway, a change would be more plausible than otherwise.",
    "Many readouts do not respond to any single knockdown, so the base rate matters here.",
    "A strong stress response would reach many genes, and {g} could be one of them.",
    "It is worth asking whether {c} cells depend on {p} for growth at all.",
    "A direct partner of {p} would be expected to react earlier than a distant gene.",
    "Compensation by a related gene could hide the effect on {g} in {c} cells.",
    "A readout with low expression is hard to call as changed, whatever the mechanism.",
    "If the effect of {p} were global, {g} would move together with a large set of genes.",
    "Without a known link between the two genes the safest guess follows the base rate.",
    "Feedback may restore {g} within hours, and a late measurement would then miss the change.",
    "A knockdown is partial, so a mild dependence on {p} may leave {g} as it was.",
    "One could also argue from the location of both products in the cell.",
)
CLOSINGS: Final = {
    "yes": (
        "Weighing these points, a change of {g} after loss of {p} seems more likely than not.",
        "On balance I lean towards an effect of {p} on {g} in these cells.",
    ),
    "no": (
        "Weighing these points, {g} most likely stays as it is when {p} is lost.",
        "On balance I lean towards no effect of {p} on {g} in these cells.",
    ),
}


def read_pairs(path: Path) -> list[tuple[str, str, bool]]:
    """Perturbation, readout and label of the train rows.

    Raises:
        SystemExit: no such file, no such columns, or no rows.
    """
    try:
        with path.open(encoding="utf-8", newline="") as text:
            rows = [row for row in csv.DictReader(text) if row.get("split", "train") == "train"]
            pairs = [(row["pert"], row["gene"], row["label"] == "1") for row in rows]
    except OSError as error:
        raise SystemExit(f"{path} cannot be read: {error.strerror}") from error
    except KeyError as error:
        raise SystemExit(f"{path} has no column {error}; expected pert, gene, label") from error
    if not pairs:
        raise SystemExit(f"{path} has no rows to draw from")
    return pairs


def think(draw: random.Random, names: dict[str, str], answer: str) -> str:
    """About ``WORDS`` words of filler that end with the answer's side."""
    closing = draw.choice(CLOSINGS[answer])
    sentences = [draw.choice(OPENINGS)]
    middles = draw.sample(MIDDLES, len(MIDDLES))
    length = len(sentences[0].split()) + len(closing.split())
    while middles and length < WORDS:
        sentences.append(middles.pop())
        length += len(sentences[-1].split())
    return " ".join([*sentences, closing]).format_map(names)


def completions(
    pairs: list[tuple[str, str, bool]], n: int, cell_line: str, seed: int
) -> Iterator[dict[str, object]]:
    """``n`` items, drawn with replacement."""
    draw = random.Random(seed)
    for i in range(n):
        perturbation, gene, label = draw.choice(pairs)
        correct = draw.random() < CORRECT
        answer = "yes" if label == correct else "no"
        names = {"p": perturbation, "g": gene, "c": cell_line}
        yield {
            "id": f"c{i}",
            "completion": f"<think>{think(draw, names, answer)}</think>\n<answer>{answer}</answer>",
            "task": {
                "type": "perturbation.de",
                "perturbation": perturbation,
                "gene": gene,
                "cell_line": cell_line,
            },
            "keywords": [perturbation, gene],
        }


def main() -> None:
    """Read the arguments, write the file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("table", type=Path, help="CSV with pert, gene, label")
    parser.add_argument("--n", type=int, default=10_000, help="completions to make")
    parser.add_argument("--cell-line", default="k562")
    parser.add_argument("--out", type=Path, help="JSONL file; none: standard output")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    made = completions(
        read_pairs(arguments.table), arguments.n, arguments.cell_line, arguments.seed
    )
    lines = (json.dumps(item, ensure_ascii=False) + "\n" for item in made)
    if arguments.out is None:
        sys.stdout.writelines(lines)
        return
    with arguments.out.open("w", encoding="utf-8") as out:
        out.writelines(lines)
    print(f"{arguments.n:,} completions in {arguments.out}")


if __name__ == "__main__":
    main()
