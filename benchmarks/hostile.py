"""What hostile completions cost: themselves, and the neighbours that are judged beside them.

    python benchmarks/hostile.py [--seconds 5]

For each kind: the time of a request with one such item on an idle server (median and worst; the
aim is 250 ms), its status, and how much longer neighbours wait while such requests come one after
the other without a pause (the aim is 50 ms at the 99th percentile). The neighbours are one-item
requests on connections of their own: one whose reward is computed in the event loop (rbio-mlp on
the fake model) and one that needs the workshop (chem-property). Hostile texts are made before, and
are so many that next to none is sent twice. Needs the extra [chem].
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import itertools
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import servers

SETTINGS = """
[starter]
enabled = false
[[models]]
family = "fake"
name = "fake"
run = "inline"
[profiles]
folder = "profiles"
[profiles.models]
rbio-mlp = "fake"
read-all = "fake"
"""
_SENTENCE = (
    "Calreticulin folds glycoproteins and binds calcium in the lumen of the endoplasmic reticulum."
)
PROFILES = {
    "read-all": """
extends = "rbio-mlp"
[extract]
max_chars = 4194304
""",
    "pattern": r"""
description = "an answer by a pattern that backtracking engines cannot bear"
version = "1"
tasks = ["label"]
[extract]
answer = "pattern"
pattern = '(?:a*)*(?:a|aa)+b(yes|no)$'
max_chars = 4194304
think = "optional"
[[component]]
name = "answer"
verifier = "answer"
""",
    "overlap": f"""
description = "ROUGE-L with long texts allowed"
version = "1"
tasks = ["text"]
[extract]
max_chars = 4194304
[[component]]
name = "overlap"
verifier = "text"
measure = "rougeL"
[[example]]
completion = "<think>So it is.</think> <answer>{_SENTENCE}</answer>"
task = {{ type = "text" }}
truth = "{_SENTENCE}"
""",
}
_MANY = [" ".join(f"word{i * j % 97}" for i in range(500)) for j in range(1, 9)]
PROFILES["overlap-many"] = PROFILES["overlap"].replace(
    'measure = "rougeL"', f'measure = "rougeL"\nboilerplate = {json.dumps(_MANY)}'
)
TASK = {"type": "perturbation.de", "perturbation": "AARS", "gene": "CALR", "cell_line": "k562"}
_WORDS = [f"word{chr(97 + i % 26)}{chr(97 + i // 26)}" for i in range(676)]


def words(draw: random.Random, count: int) -> str:
    """Prose of so many words."""
    return " ".join(draw.choices(_WORDS, k=count))


def answered(answer: str, think: str = "So it is.") -> str:
    """A completion in the house's grammar."""
    return f"<think>{think}</think> <answer>{answer}</answer>"


def design(answer: str) -> dict[str, Any]:
    """An item of chem-design."""
    wanted = [{"property": "qed", "at_least": 0.5}, {"similar_to": "CCO", "at_least": 0.1}]
    task = {"type": "molecule.constraints", "constraints": wanted}
    return {"completion": answered(answer), "task": task}


def cage(draw: random.Random, rings: int) -> str:
    """Two chains joined in as many places, crosswise."""
    first = [f"C%{10 + i}" for i in range(rings)]
    return "".join(first + draw.sample(first, rings))


def overlap(draw: random.Random, count: int, *references: int) -> dict[str, Any]:
    """A text of so many words against references of so many."""
    truth = [words(draw, size) for size in references]
    return {"completion": answered(words(draw, count)), "task": {"type": "text"}, "truth": truth}


def asked(completion: str) -> dict[str, Any]:
    """A perturbation question."""
    return {"completion": completion, "task": TASK}


Maker = Callable[[random.Random], dict[str, Any]]
_YES_NO = {"type": "label", "classes": ["yes", "no"]}
MEGABYTE = 1_000_000
KINDS: dict[str, tuple[str, Maker]] = {
    "10,000-atom SMILES": (
        "chem-design",
        lambda draw: design("".join(draw.choices("CNO", k=10_000))),
    ),
    "58 rings in a cage": ("chem-design", lambda draw: design(cage(draw, 58))),
    "1 MB completion, over max_chars": (
        "rbio-mlp",
        lambda draw: asked(answered("yes", words(draw, MEGABYTE // 7))),
    ),
    "1 MB completion, read whole": (
        "read-all",
        lambda draw: asked(answered("yes", words(draw, MEGABYTE // 7))),
    ),
    "1 MB of glued tags, read whole": (
        "read-all",
        lambda draw: asked(f"<think>{draw.random()}</think>" * (MEGABYTE // 33)),
    ),
    "pattern against 1 MB": (
        "pattern",
        lambda draw: {"completion": "a" * (MEGABYTE + draw.randrange(99)), "task": _YES_NO},
    ),
    "ROUGE-L of 2,000 x 2,000 words": ("overlap", lambda draw: overlap(draw, 2_000, 2_000)),
    "ROUGE-L of 2,000 x 500 words": ("overlap", lambda draw: overlap(draw, 2_000, 500)),
    "ROUGE-L of 500 x 500 words": ("overlap", lambda draw: overlap(draw, 500, 500)),
    "… and 8 boilerplates: ended at its budget": (
        "overlap-many",
        lambda draw: overlap(draw, 500, 500),
    ),
}


class Connection:
    """One kept-alive connection that scores one item at a time."""

    def __init__(self, port: int):
        self._http = http.client.HTTPConnection("127.0.0.1", port, timeout=60)

    def score(self, profile: str, item: dict[str, Any]) -> tuple[float, str]:
        """Seconds, and status with reason or the HTTP status of a refusal."""
        body = json.dumps({"profile": profile, "items": [item]})
        started = time.perf_counter()
        self._http.request("POST", "/v1/score", body)
        response = self._http.getresponse()
        found = json.loads(response.read())
        seconds = time.perf_counter() - started
        if response.status != 200:
            return seconds, f"HTTP {response.status}"
        result = found["results"][0]
        return seconds, f"{result['status']} {result['reason']}"


def send(port: int, kind: str) -> None:
    """Send one kind for ever: another process, so that its making costs the neighbours nothing."""
    profile, make = KINDS[kind]
    draw = random.Random(os.getpid())
    ready = []
    until = time.perf_counter() + 3.0
    while len(ready) < 100 or (len(ready) < 2000 and time.perf_counter() < until):
        ready.append(make(draw))
    connection = Connection(port)
    print("sending", flush=True)
    for number in itertools.count():
        item = ready[number % len(ready)]
        connection.score(profile, item)


@contextlib.contextmanager
def under_fire(port: int, kind: str) -> Iterator[None]:
    """While another process sends a kind."""
    command = [sys.executable, __file__, "--send", kind, "--port", str(port)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as sender:
        assert sender.stdout is not None
        sender.stdout.readline()
        try:
            yield
        finally:
            sender.kill()


def neighbours(port: int, seconds: float) -> dict[str, list[float]]:
    """Latencies of the two neighbours over so many seconds, a request each 2 ms or so."""
    found: dict[str, list[float]] = {"loop": [], "workshop": []}
    until = time.perf_counter() + seconds

    def loop(number: int) -> tuple[str, dict[str, Any]]:
        return "rbio-mlp", asked(answered("yes", f"Question number {number}."))

    def workshop(number: int) -> tuple[str, dict[str, Any]]:
        task = {
            "type": "molecule.property",
            "molecule": "C" * (1 + number % 90) + "O",
            "property": "heavy_atoms",
        }
        return "chem-property", {"completion": answered(str(number)), "task": task}

    def ask(name: str, make: Callable[[int], tuple[str, dict[str, Any]]]) -> None:
        connection = Connection(port)
        for number in itertools.count():
            if time.perf_counter() > until:
                return
            found[name].append(connection.score(*make(number))[0])
            time.sleep(0.002)

    threads = [
        threading.Thread(target=ask, args=("loop", loop)),
        threading.Thread(target=ask, args=("workshop", workshop)),
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return found


def percentile(values: list[float], share: float) -> float:
    """A percentile in milliseconds."""
    return sorted(values)[min(len(values) - 1, int(share * len(values)))] * 1000


def own_cost(port: int, kind: str, tries: int) -> tuple[float, float, str]:
    """Median and worst milliseconds of a request with one such item, and what came of it."""
    profile, make = KINDS[kind]
    draw = random.Random(7)
    connection = Connection(port)
    items = [make(draw) for _ in range(tries)]
    found = [connection.score(profile, item) for item in items]
    seconds = [one for one, _ in found]
    said = ", ".join(sorted({outcome for _, outcome in found}))
    return statistics.median(seconds) * 1000, max(seconds) * 1000, said


def measure(port: int, seconds: float) -> None:
    """The table."""
    neighbours(port, 1.0)
    quiet = neighbours(port, seconds)
    still = {name: percentile(values, 0.99) for name, values in quiet.items()}
    print(
        f"neighbours alone, p99: {still['loop']:.1f} ms loop, {still['workshop']:.1f} ms workshop"
    )
    print(f"\n{'item':<37}{'its own ms':>15}  {'neighbour p99, more by ms':<27}outcome")
    print(f"{'':<37}{'median / worst':>15}  {'loop / workshop':<27}")
    for kind in KINDS:
        median, worst, outcome = own_cost(port, kind, 10)
        with under_fire(port, kind):
            fired = neighbours(port, seconds)
        more = {name: percentile(fired[name], 0.99) - still[name] for name in fired}
        costs = f"{median:.1f} / {worst:.1f}"
        delays = f"{more['loop']:+.1f} / {more['workshop']:+.1f}"
        print(f"{kind:<37}{costs:>15}  {delays:<27}{outcome}", flush=True)


def main() -> None:
    """Start a server, fire at it, print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seconds", type=float, default=5.0, help="length of each measurement")
    parser.add_argument("--send", choices=KINDS, help=argparse.SUPPRESS)
    parser.add_argument("--port", type=int, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.send:
        send(chosen.port, chosen.send)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "profiles").mkdir()
        for profile, text in PROFILES.items():
            (folder / "profiles" / f"{profile}.toml").write_text(text)
        config = folder / "soft-verifier.toml"
        config.write_text(SETTINGS.replace('"profiles"', f'"{folder / "profiles"}"'))
        with servers.soft_verifier([], "--config", str(config)) as (url, _, _):
            time.sleep(3.0)  # the workshop warms up beside the server
            measure(int(url.rsplit(":", 1)[1]), chosen.seconds)


if __name__ == "__main__":
    main()
