"""rbio in miniature: one small policy, three rewards, and what each teaches it.

    python examples/rbio_miniature/run.py --data DATA --out DIR [--quick]

DATA holds a line's two PerturbQA tables (``k562-de.csv``, ``k562-dir.csv``) and gene graphs, as
``soft-verifier train screen`` takes them. The program trains two world models without the held-out
perturbations, serves them, lets TRL's GRPO post-train a small policy under ``rbio-mlp``,
``screen-de-lift`` and ``rbio-exp``, and writes ``report.md``, ``report.json`` and ``curves.svg``.
What is finished in DIR is used again. GRPO runs in the trainer's environment (``--trainer``), all
else in this one. README.md has a result.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, TextIO

import numpy as np
import pairs as rows
import report
import verifiers
from rich.console import Console
from rich.markdown import Markdown
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from worldmodels.core import ModelFault

REPOSITORY: Final = Path(__file__).resolve().parents[2]
TRAINER: Final = REPOSITORY / "build" / "trainers" / "trl" / "bin" / "python"
RUNS: Final = (
    # profile, whether it pays for the measured label that a row carries
    ("rbio-mlp", False),
    ("screen-de-lift", False),
    ("rbio-exp", True),
)
SIZES: Final[dict[str, dict[str, Any]]] = {
    "full": {
        "warm_steps": 300,
        "steps": 100,
        "completions": 256,
        "group": 4,
        "evaluate_every": 20,
    },
    "quick": {
        "warm_steps": 80,
        "steps": 24,
        "completions": 128,
        "group": 4,
        "evaluate_every": 8,
    },
}
TRAINING: Final = {"rate": 1e-3, "beta": 0.1, "tokens": 12, "scale_rewards": "none"}
"""Learning rate, weight of the warm start as reference (without one, answers of one kind remain
within a few steps, and GRPO learns nothing from groups that agree), most tokens of a completion,
and advantages as large as rewards differ, as ``docs/rewards.md`` recommends."""
Tell = Callable[[str, int, int], None]
"""Told what is being done, how much of it is done, and how much there is."""


def main() -> int:
    """The command; a mistake is a line, not a traceback."""
    arguments = parse()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that children are ended, too
    try:
        make(arguments, Console())
    except ModelFault as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--data", type=Path, required=True, help="tables and graphs")
    parser.add_argument("--out", type=Path, required=True, help="folder for everything made")
    parser.add_argument("--line", default="k562", help="cell line (k562)")
    parser.add_argument("--seed", type=int, default=0, help="of split, weights and samples (0)")
    parser.add_argument("--steps", type=int, help="of GRPO")
    parser.add_argument("--quick", action="store_true", help="fewer and smaller steps")
    parser.add_argument(
        "--trainer", type=Path, default=TRAINER, help="python with TRL (build/trainers/trl)"
    )
    return parser.parse_args()


def make(arguments: argparse.Namespace, console: Console) -> None:
    """Everything, from the tables to the report.

    Raises:
        ModelFault: something is missing, or a part failed.
    """
    if not arguments.trainer.is_file():
        raise ModelFault(f"--trainer {arguments.trainer}: no such python; run `make trainers`")
    work: Path = arguments.out / "work"
    work.mkdir(parents=True, exist_ok=True)
    plan = planned(
        arguments, rows.digest(rows.find(arguments.data, arguments.line, "de", arguments.out))
    )
    refuse_other(work / "plan.json", plan)
    if not finished(work, plan):
        with progress(console) as tell:
            run_all(arguments, work, plan, tell, console)
    conclude(arguments.out, work, plan["warm_steps"], console)


def finished(work: Path, plan: dict[str, Any]) -> bool:
    """Whether every run of the plan is there, and what the verifiers said."""
    done = [work / "runs" / run["name"] / "done.json" for run in plan["runs"]]
    return (work / "verifiers.npz").exists() and all(
        path.exists() and json.loads(path.read_text())["run"] == run
        for path, run in zip(done, plan["runs"], strict=True)
    )


def run_all(
    arguments: argparse.Namespace, work: Path, plan: dict[str, Any], tell: Tell, console: Console
) -> None:
    """World models, a server of them, and GRPO against it; what is there is used again."""
    tell("reading pairs and graphs", 0, 1)
    found = rows.prepare(arguments.data, arguments.line, arguments.seed, work / "tables")
    tell("reading pairs and graphs", 1, 1)
    models = trained(arguments, work, tell)
    with verifiers.serving(models, work) as url:
        said = {
            name: verifiers.ask(url, name, arguments.line, found.held_out)
            for name in verifiers.NAMES
        }
        answered = np.logical_and.reduce([np.isfinite(p) for p in said.values()])
        kept = [found.held_out[i] for i in np.flatnonzero(answered)]
        console.print(
            f"{len(found.train):,} pairs to train on, {len(kept):,} held out; left out: "
            f"{found.unread:,} without a vector, {int((~answered).sum()):,} that a verifier "
            "has no opinion on"
        )
        write_work(work, replace(found, held_out=kept), plan)
        post_train(arguments.trainer, work, url, plan, tell)
    asked = [said[name][answered] for name in verifiers.NAMES]
    np.savez(work / "verifiers.npz", names=np.array(verifiers.NAMES), p=np.stack(asked))


def planned(arguments: argparse.Namespace, digest: str) -> dict[str, Any]:
    """What the trainer's half is to do; every run carries all that it depends on."""
    size = dict(SIZES["quick" if arguments.quick else "full"])
    if arguments.steps is not None:
        size |= {"steps": arguments.steps, "evaluate_every": max(arguments.steps // 5, 1)}
    common = {**size, **TRAINING, "seed": arguments.seed, "line": arguments.line}
    runs = [
        {"name": profile, "profile": profile, "truth": truth, **common} for profile, truth in RUNS
    ]
    return {**common, "table": digest, "runs": runs}


def refuse_other(path: Path, plan: dict[str, Any]) -> None:
    """A folder is of one table, line and seed: its models were trained on that split.

    Raises:
        ModelFault: it is of others.
    """
    if not path.exists():
        return
    made = json.loads(path.read_text())
    if other := [key for key in ("table", "line", "seed") if made.get(key) != plan[key]]:
        raise ModelFault(
            f"{path.parent.parent} was made with another {' and '.join(other)}; name another --out"
        )


def trained(arguments: argparse.Namespace, work: Path, tell: Tell) -> list[Path]:
    """The world models' folders, made where they are not there."""
    folders = []
    for name in verifiers.NAMES:
        tell(f"world model {name}", 0, 1)
        folders.append(
            verifiers.train(
                name,
                work / "tables",
                arguments.data,
                arguments.line,
                arguments.seed,
                work / "models",
            )
        )
        tell(f"world model {name}", 1, 1)
    return folders


def write_work(work: Path, found: rows.Pairs, plan: dict[str, Any]) -> None:
    """What the trainer's half reads."""
    np.savez(work / "genes.npz", names=np.array(found.genes), vectors=found.vectors)
    counting = report.Judge.of(found.held_out).counting()
    told = {"train": found.train, "held_out": found.held_out, "counting": counting.tolist()}
    (work / "pairs.json").write_text(json.dumps(told))
    (work / "plan.json").write_text(json.dumps(plan, indent=1))


def post_train(python: Path, work: Path, url: str, plan: dict[str, Any], tell: Tell) -> None:
    """Warm start and runs, in the trainer's environment.

    Raises:
        ModelFault: it failed, with the end of what it said.
    """
    program = Path(__file__).with_name("post_train.py")
    log = work / "trainer.log"
    quiet = {"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1", "TRANSFORMERS_VERBOSITY": "error"}
    with log.open("w") as file:
        child = subprocess.Popen(
            [python, program, work, "--url", url],
            stdout=subprocess.PIPE,
            stderr=file,
            text=True,
            env={**os.environ, **quiet},
        )
        try:
            follow(child, file, plan, tell)
            child.wait()
        finally:
            child.kill()
    if child.returncode:
        raise ModelFault(f"the trainer failed; the end of {log}:\n{log.read_text()[-2000:]}")


def follow(child: subprocess.Popen[str], log: TextIO, plan: dict[str, Any], tell: Tell) -> None:
    """Events move the bars, all else is logged, until the child says no more."""
    for line in child.stdout or ():
        if line.startswith('{"run"'):
            event = json.loads(line)
            warm = event["run"] == "warm start"
            tell(event["run"], event["step"], plan["warm_steps" if warm else "steps"])
        else:
            log.write(line)


def conclude(out: Path, work: Path, warm_steps: int, console: Console) -> None:
    """The report, written and printed."""
    pairs = json.loads((work / "pairs.json").read_text())
    judge = report.Judge.of(pairs["held_out"])
    some = report.Judge.of([pairs["held_out"][i] for i in pairs["counting"]])
    with np.load(work / "verifiers.npz") as told:
        said = dict(zip(told["names"].tolist(), told["p"], strict=True))
    made = {name: report.read_run(work / "runs" / name) for name, _ in RUNS}
    scores = {
        "base-rate table": report.base_rates(pairs["train"], pairs["held_out"]),
        **{f"verifier `{name}`": p for name, p in said.items()},
        "policy, warm start": np.load(work / f"warm-{warm_steps}.npy"),
        **{f"policy, `{name}`": run["final"] for name, run in made.items()},
    }
    figures = {name: judge.row(p) for name, p in scores.items()}
    text = report.table(figures)
    (out / "report.md").write_text(text + "\n")
    curves = {
        name: {
            "steps": [0, *run["steps"].tolist()],
            "truth": [
                figures["policy, warm start"]["per_gene_auroc"],
                *(some.truth(p) for p in run["p"]),
            ],
            "history": run["history"],
        }
        for name, run in made.items()
    }
    (out / "report.json").write_text(json.dumps({"figures": figures, "runs": curves}, indent=1))
    levels = {name: figures[f"verifier `{name}`"]["per_gene_auroc"] for name in said}
    report.draw(curves, levels, out / "curves.svg")
    console.print(Markdown(text))
    console.print(f"{out / 'report.md'}, {out / 'report.json'}, {out / 'curves.svg'}", style="bold")


@contextmanager
def progress(console: Console) -> Iterator[Tell]:
    """A bar for each thing that is being done."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    bars: dict[str, Any] = {}
    with Progress(*columns, TimeElapsedColumn(), console=console) as shown:

        def tell(what: str, done: int, of: int) -> None:
            if what not in bars:
                bars[what] = shown.add_task(what, total=of)
            shown.update(bars[what], completed=done)

        yield tell


if __name__ == "__main__":
    sys.exit(main())
