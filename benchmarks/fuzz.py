"""Fuzz every shipped profile, in this process: a million completions, no crash.

Mutations of honest completions, tag soups, random characters with lone surrogates, and structured
messages (``service.redteam.fuzzing``). Each result must be bounded and the same when judged again.
Resumable: what is done stands in the state file, and the same command goes on; ``--restart`` begins
anew. Prints a figure, and every fault with its number. Run:

    python benchmarks/fuzz.py                      # 1,000,000 completions
    python benchmarks/fuzz.py 20000 --seed 7 --profile ether0
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections import Counter
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from service.redteam.bench import Bench
from service.redteam.fuzzing import Fault, fuzz, targets_of
from service.redteam.library import library
from service.rewards.profiles import load_profiles

EVERY = 5_000
"""Completions between two writes of the state."""


def arguments() -> argparse.Namespace:
    """What the command line says."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("n", type=int, nargs="?", default=1_000_000, help="completions")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--profile", action="append", help="only this one; may be repeated")
    parser.add_argument("--state", type=Path, default=Path("build/fuzz.json"))
    parser.add_argument("--restart", action="store_true", help="forget what is done")
    return parser.parse_args()


def main() -> int:
    """Fuzz; 0 where nothing is wrong."""
    chosen = arguments()
    profiles = load_profiles(library=library())
    wanted = chosen.profile or list(profiles)
    targets = targets_of([profiles[name] for name in wanted], chosen.seed)
    run = {"seed": chosen.seed, "digests": [target.profile.digest for target in targets]}
    state = {"run": run, "done": 0, "seconds": 0.0, "statuses": {}, "faults": []}
    if chosen.state.exists() and not chosen.restart:
        kept = json.loads(chosen.state.read_text())
        if kept["run"] == run:
            state = kept
        else:
            print("another seed or other profiles: beginning anew", file=sys.stderr)
    chosen.state.parent.mkdir(parents=True, exist_ok=True)
    statuses = Counter(state["statuses"])
    with Bench() as bench, _bar() as bar:
        shown = bar.add_task("", total=chosen.n, completed=state["done"], faults="")
        while state["done"] < chosen.n:
            start, stop = state["done"], min(chosen.n, state["done"] + EVERY)
            began = time.perf_counter()
            for outcome in fuzz(targets, bench, chosen.seed, start, stop):
                if isinstance(outcome, Fault):
                    state["faults"].append([*outcome[:3], ascii(outcome.completion)[:2000]])
                else:
                    statuses[f"{outcome.status} {outcome.reason}"] += 1
            state["seconds"] += time.perf_counter() - began
            state["done"], state["statuses"] = stop, statuses
            chosen.state.write_text(json.dumps(state))
            bar.update(shown, completed=stop, faults=f"{len(state['faults'])} faults")
    for number, profile, what, completion in state["faults"][:20]:
        print(f"fault {number} {profile}: {what}\n    {completion[:300]}")
    for status, count in statuses.most_common():
        print(f"{status:<34}{count:>10,}")
    print(
        f"{state['done']:,} completions under {len(targets)} profiles, seed {chosen.seed}: "
        f"{len(state['faults'])} faults, {state['seconds']:.0f} s, "
        f"{state['done'] / max(state['seconds'], 1e-9):,.0f}/s"
    )
    return 1 if state["faults"] else 0


def _bar() -> Progress:
    return Progress(
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[faults]}"),
        console=Console(stderr=True),
    )


if __name__ == "__main__":
    sys.exit(main())
