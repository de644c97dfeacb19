"""The comparison with peers runs, goes on where it was, and says loudly who is missing.

Subprocesses: ``benchmarks/servers.py`` and ``tests/servers.py`` share a name. No figure is held to
a threshold on a machine that may do something else, but one: asked by 256 clients at once this
server is ahead of a plain FastAPI route.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[1]
PROGRAM = REPOSITORY / "benchmarks" / "peers.py"
RUNS = REPOSITORY / "build" / "peers" / "runs"


def peers(*arguments: object, seconds: float = 240) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(PROGRAM), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=seconds)


@pytest.fixture
def run() -> Iterator[str]:
    """A run of its own, forgotten afterwards."""
    name = f"test-{uuid.uuid4().hex}"
    yield name
    shutil.rmtree(RUNS / name, ignore_errors=True)


def row(table: str, title: str, first: str) -> list[str]:
    """Cells of the row that begins so, below a title."""
    below = table.split(title, 1)[1]
    line = next(line for line in below.splitlines() if line.startswith(f"| {first}"))
    return [cell.strip() for cell in line.strip("|").split("|")]


@pytest.mark.skipif(
    not (shutil.which("wrk") and shutil.which("h2load")),
    reason="wrk and h2load are missing (Debian: apt-get install wrk nghttp2-client)",
)
def test_fastapi_is_measured_beside_us_and_kept(run: str, tmp_path: Path) -> None:
    arguments = ["--peers", "fastapi", "--models", "factorised", "--parts", "speed"]
    arguments += ["--seconds", "1", "--repeats", "1", "--run", run, "--out", tmp_path / "t.md"]
    first = peers(*arguments)
    assert first.returncode == 0, first.stderr
    table = (tmp_path / "t.md").read_text()
    assert table in first.stdout
    head = row(table, "### Ratios, factorised", "times as many as")
    ratios = row(table, "### Ratios, factorised", "fastapi")
    found = dict(zip(head[1:], map(float, ratios[1:]), strict=True))
    assert found["256 conn"] > 1, table
    for server in ("this server", "fastapi"):
        cells = row(table, "## Factorised model", server)[1:]
        assert all(re.fullmatch(r"[\d,]+ \([\d.e+-]+/[\d.,]+\)", cell) for cell in cells), cells
    again = peers(*arguments)
    assert again.returncode == 0, again.stderr
    assert (tmp_path / "t.md").read_text() == table  # figures would differ, had it measured anew


def test_a_peer_that_cannot_be_installed_is_in_the_table(run: str, tmp_path: Path) -> None:
    (tmp_path / "gone.txt").write_text(f"{tmp_path}/no-such-package\n")
    story = f"""
import dataclasses, sys
from pathlib import Path
sys.path.insert(0, {str(PROGRAM.parent)!r})
import peers, peers_contestants as contestants, peers_started
contestants.HERE = Path({str(tmp_path)!r})
peers_started.BUILD = peers.BUILD = Path({str(tmp_path)!r}) / "build"
gone = contestants.Peer("gone", "not there", program="with_gone.py")
peers.PEERS = contestants.PEERS = peers.peers_report.PEERS = {{"gone": gone, "mosec": gone}}
peers.TWO = gone
sys.argv = ["peers.py", "--peers", "gone", "--run", {run!r}, "--parts", "speed",
            "--models", "naive", "--out", {str(tmp_path / "t.md")!r}]
peers.servers.require = lambda *programs: None
peers.main()
"""
    done = subprocess.run(
        [sys.executable, "-c", story], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert "!! gone cannot be installed here" in done.stderr
    assert "no-such-package" in (tmp_path / "t.md").read_text().split("**Not measured**")[1]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--peers", "fastapy"], "invalid choice: 'fastapy'"),
        (["--seconds", "0"], "a whole number from 1 is expected"),
        (["--seconds", "two"], "a whole number from 1 is expected"),
        (["--run", "../elsewhere"], "a name without slashes"),
        (["--parts", "all"], "invalid choice: 'all'"),
    ],
    ids=["unknown peer", "no seconds", "seconds in words", "a path", "unknown part"],
)
def test_mistakes_are_told(arguments: list[str], said: str) -> None:
    done = peers(*arguments)
    assert done.returncode == 2
    assert said in done.stderr


def test_help_has_examples() -> None:
    assert "python benchmarks/peers.py --peers fastapi" in peers("--help").stdout
