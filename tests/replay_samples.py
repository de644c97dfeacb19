"""What a replay asks, of which server, and the truth of it.

The profile's floor lies below 0 and every stand-in is one configured number that is nobody's due,
so that a 0, or a number where none is known, betrays itself.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

from running import PROFILE
from servers import ServerProcess, free_port
from softverifier import RewardClient
from trainer_calls import NO, YES, Numbers, Sample

SETTINGS = """
[starter]
enabled = false
[profiles]
folder = "profiles"
[[models]]
family = "fake"
name = "fake"
options = { poison = "POISON", nan = "NAN", unknown = "UNKNOWN", contexts = "k562" }
"""
FLOOR = -0.125
NEUTRAL = 0.4375
"""What everything is told to put in a missing number's place; nobody's due."""
GROUP = 8
COMPLETIONS = [
    YES, NO, "", "no tags", YES + NO, "<think>cut", YES.replace("may", "might"), f"{YES}\n",
]  # fmt: skip
GENES = [f"G{at}" for at in range(40)] + ["UNKNOWN1", "POISON", "NAN"]
GROUPS = [
    [Sample(text, gene, prompt=f"Does {gene} change?") for text in COMPLETIONS] for gene in GENES
]
WEIGHTS = [0.1 if gene in ("POISON", "NAN") else 1.0 for gene in GENES]
"""What a model cannot judge is tried again until the deadline, so it is drawn less often."""
Truth = dict[tuple[str, str], float | None]


def start_server(folder: Path) -> ServerProcess:
    """A server with the fake model, always at the same port; its profile's floor lies below 0."""
    (folder / "profiles").mkdir()
    told = PROFILE.replace("floor = 0.0", f"floor = {FLOOR}").replace("[0.0, 1", f"[{FLOOR}, 1")
    assert told.count(str(FLOOR)) == 2
    (folder / "profiles" / "soft.toml").write_text(told)
    return ServerProcess(folder, SETTINGS, "--http-port", str(free_port())).start()


@contextlib.contextmanager
def dying(server: ServerProcess, kills: int, every_s: float) -> Iterator[None]:
    """The server is killed (-9) and started again so often, while the block runs."""
    ended = threading.Event()

    def kill() -> None:
        for _ in range(kills):
            if ended.wait(every_s):
                return
            server.kill()
            server.start()

    killer = threading.Thread(target=kill)
    killer.start()
    try:
        yield
    finally:
        ended.set()
        killer.join()


def truth_of(url: str) -> Truth:
    """The reward of every sample without faults; None where it has none."""
    items = [{"completion": one.completion, "task": one.task} for group in GROUPS for one in group]
    keys = [(one.gene, one.completion) for group in GROUPS for one in group]
    with RewardClient(url, profile="soft", deadline=60) as client:
        found = [one.reward for one in client.score(items)]
    known = {one for one in found if one is not None}
    assert FLOOR in known, "no sample is invalid"
    assert None in found, "no sample abstains"
    assert not known & {0.0, NEUTRAL}
    return dict(zip(keys, found, strict=True))


def due(truth: Truth, group: Sequence[Sample]) -> Numbers:
    """What each sample of a group is due."""
    return [truth[one.gene, one.completion] for one in group]
