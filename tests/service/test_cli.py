from __future__ import annotations

import subprocess
import sys

import pytest

INTERRUPTED = """
import os, signal, sys

class Interrupting:
    '''Stands in the way of the imports and presses Ctrl-C at one of them.'''

    def find_spec(self, name, path, target=None):
        if name == {module!r}:
            sys.meta_path.remove(self)
            os.kill(os.getpid(), signal.SIGINT)
        return None

sys.meta_path.insert(0, Interrupting())
sys.argv = ["soft-verifier", "doctor"]
from service.cli import main
main()
"""


@pytest.mark.parametrize("module", ["typer", "service.commands.doctor", "torch"])
def test_an_interrupt_while_python_still_imports_is_one_line(module: str) -> None:
    program = INTERRUPTED.format(module=module)
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 130
    assert "Traceback" not in done.stderr
    assert len(done.stderr.strip().splitlines()) <= 1


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["srve"], "No such command 'srve'"),
        (["serve", "--prt", "1"], "No such option"),
        (["score"], "Missing argument"),
        (["score", "nowhere.jsonl", "--profile", "starter"], "nowhere.jsonl"),
        (["profiles", "show", "rbio-mpl"], "did you mean 'rbio-mlp'"),
        (["models", "--model", "nowhere"], "no checkpoint at nowhere"),
    ],
    ids=["command", "option", "argument", "file", "profile", "model"],
)
def test_a_mistake_is_one_clear_message(arguments: list[str], says: str, tmp_path: object) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "service", *arguments],
        cwd=str(tmp_path),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert says in done.stderr
    assert "Traceback" not in done.stderr
