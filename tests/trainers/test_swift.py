"""ms-swift for real: its plugin loader, its table of rewards, its GRPO trainer, and outages."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import trainer_packages
from running import PROFILE, write_config
from servers import ServerProcess, free_port, wait_until
from softverifier import RewardClient
from softverifier.trainers import swift

PROGRAM = Path(__file__).parent / "swift_grpo.py"
PLUGIN = Path(swift.__file__).parent / "plugins" / "soft_verifier_swift.py"
TASK = {"type": "perturbation.de", "perturbation": "AARS1", "gene": "CALR", "cell_line": "k562"}
FLOOR = -0.125
"""Below 0, so that no zero is anybody's due."""
Row = dict[str, Any]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """Always at the same port, however often it is killed."""
    trainer_packages.python("swift")
    folder = tmp_path_factory.mktemp("swift-server")
    config = write_config(folder)
    told = PROFILE.replace("floor = 0.0", f"floor = {FLOOR}").replace("[0.0, 1", f"[{FLOOR}, 1")
    assert told.count(str(FLOOR)) == 2
    (folder / "profiles" / "soft.toml").write_text(told)
    ports = ("--http-port", str(free_port()))
    running = ServerProcess(folder, "", "--config", str(config), *ports)
    try:
        yield running.start()
    finally:
        running.stop()


class Run:
    """One training run; its folder keeps what swift left."""

    def __init__(
        self, folder: Path, server: ServerProcess, steps: int, gates: list[int], **told: str
    ) -> None:
        self.folder = folder
        folder.mkdir()
        environment = {"SOFT_VERIFIER_URL": server.url, "SOFT_VERIFIER_PROFILE": "soft", **told}
        words = [folder, PLUGIN, str(steps), *map(str, gates)]
        self.process = trainer_packages.start("swift", PROGRAM, words, environment)
        self.printed = ""

    def at(self, step: int) -> None:
        """Wait until it waits there."""

        def there() -> bool:
            assert self.process.poll() is None, self.end()
            return (self.folder / f"at-{step}").exists()

        wait_until(there, 150, f"never came to step {step}")

    def go_on(self, step: int) -> None:
        (self.folder / f"go-{step}").touch()

    def end(self) -> str:
        """All that it printed, once it has ended."""
        try:
            printed, _ = self.process.communicate(timeout=150)
        except subprocess.TimeoutExpired:
            self.process.kill()
            printed, _ = self.process.communicate()
            pytest.fail(f"did not end: {printed[-6000:]}")
        self.printed += printed
        return self.printed

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.communicate()

    def steps(self) -> list[list[Row]]:
        """What swift's own log says of each step's completions."""
        found = []
        for line in (self.folder / "out" / "completions.jsonl").read_text().splitlines():
            table = json.loads(line)
            columns = (table["completion"], table["SoftVerifierORM"], table["advantages"])
            names = ("completion", "reward", "advantage")
            found.append([dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)])
        return found


@pytest.fixture
def start(tmp_path: Path, server: ServerProcess) -> Iterator[Callable[..., Run]]:
    made: list[Run] = []

    def begin(steps: int, gates: list[int], **told: str) -> Run:
        made.append(Run(tmp_path / "run", server, steps, gates, **told))
        return made[-1]

    yield begin
    for one in made:
        one.close()
    if server.process is None or server.process.poll() is not None:
        server.start()


def due(server: ServerProcess, rows: list[Row]) -> list[float | None]:
    """What the server says of the same completions, asked directly."""
    items = [
        {"completion": row["completion"].removesuffix("<|im_end|>"), "task": TASK} for row in rows
    ]
    with RewardClient(server.url, profile="soft") as client:
        return [one.reward for one in client.score(items)]


def rewards(rows: list[Row]) -> list[float]:
    return [row["reward"] for row in rows]


def near(numbers: list[float | None]) -> Any:
    """The trainer keeps float32."""
    return pytest.approx(numbers, abs=1e-6)


def test_grpo_learns_through_the_plugin_and_a_killed_server(
    start: Callable[..., Run], server: ServerProcess
) -> None:
    run = start(40, [3])
    run.at(3)
    server.kill()
    run.go_on(3)
    server.turns_away()
    server.start()
    printed = run.end()
    assert run.process.returncode == 0, printed[-6000:]
    assert "Successfully imported external_plugins" in printed
    assert "soft-verifier: ms-swift is active, profile soft sha256:" in printed
    steps = run.steps()
    assert [len(rows) for rows in steps[:40]] == [32] * 40
    every = [row for rows in steps for row in rows]
    assert 0.0 not in rewards(every)
    assert FLOOR in rewards(every)
    assert rewards(every) == near(due(server, every))
    first, last = (sum(map(sum, map(rewards, part))) / 160 for part in (steps[:5], steps[35:40]))
    assert first < 0.3
    assert last > 0.5


def test_an_outage_beyond_the_deadline_gives_the_configured_number(
    start: Callable[..., Run], server: ServerProcess
) -> None:
    told = {"SOFT_VERIFIER_DEADLINE": "4", "SOFT_VERIFIER_NEUTRAL": "0.4375"}
    run = start(5, [2, 3], **told)
    run.at(2)
    server.kill()
    run.go_on(2)
    run.at(3)
    server.start()
    run.go_on(3)
    printed = run.end()
    assert run.process.returncode == 0, printed[-6000:]
    steps = run.steps()
    assert {row["reward"] for row in steps[2]} == {0.4375}
    assert {row["advantage"] for row in steps[2]} == {0.0}
    others = [row for at in (0, 1, 3, 4) for row in steps[at]]
    assert rewards(others) == near(due(server, others))


def test_where_no_number_is_known_the_run_ends_and_learns_no_zero(
    start: Callable[..., Run], server: ServerProcess
) -> None:
    run = start(5, [2], SOFT_VERIFIER_DEADLINE="4")
    run.at(2)
    server.kill()
    run.go_on(2)
    printed = run.end()
    assert run.process.returncode != 0
    assert "softverifier.errors.NoReward: no reward (error, UNREACHABLE)" in printed
    assert "SOFT_VERIFIER_NEUTRAL" in printed
    server.start()
    steps = run.steps()
    assert len(steps) == 2
    every = [row for rows in steps for row in rows]
    assert rewards(every) == near(due(server, every))
