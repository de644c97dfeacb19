"""The example that makes rbio completions: seeded, well formed, right about 70 % of the time."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[1] / "examples" / "rbio_completions.py"


def make(table: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(SCRIPT), str(table), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)


@pytest.fixture
def table(tmp_path: Path) -> Path:
    path = tmp_path / "t.csv"
    rows = [f"P{i},R{i},{i % 2},train" for i in range(40)]
    path.write_text("\n".join(["pert,gene,label,split", *rows, "HELD,OUT,1,test"]) + "\n")
    return path


def test_completions_are_what_they_say(table: Path) -> None:
    done = make(table, "--n", "1000", "--cell-line", "rpe1")
    items = [json.loads(line) for line in done.stdout.splitlines()]
    assert (done.returncode, len(items)) == (0, 1000)
    correct = words = 0
    for item in items:
        task = item["task"]
        assert task["perturbation"] != "HELD"
        assert item["keywords"] == [task["perturbation"], task["gene"]]
        assert task["cell_line"] == "rpe1"
        think, answer = item["completion"].split("</think>\n<answer>")
        words += len(think.split())
        assert item["completion"].startswith("<think>")
        truth = "yes" if int(task["gene"][1:]) % 2 else "no"
        correct += answer == f"{truth}</answer>"
    assert 0.65 < correct / 1000 < 0.75
    assert 140 < words / 1000 < 175
    assert len({item["completion"] for item in items}) > 990
    assert make(table, "--n", "1000", "--cell-line", "rpe1").stdout == done.stdout


@pytest.mark.parametrize(
    ("text", "words"),
    [(None, "cannot be read"), ("a,b\n1,2\n", "no column"), ("pert,gene,label\n", "no rows")],
    ids=["missing", "columns", "empty"],
)
def test_mistakes_are_named(tmp_path: Path, text: str | None, words: str) -> None:
    path = tmp_path / "t.csv"
    if text is not None:
        path.write_text(text)
    done = make(path)
    assert done.returncode == 1
    assert words in done.stderr
    assert "Traceback" not in done.stderr
